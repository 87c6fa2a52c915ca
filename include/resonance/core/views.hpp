// SPDX-License-Identifier: Apache-2.0
//! \file
//! Non-owning views: matrices, and the assignments that one stage hands to the next.
#ifndef RESONANCE_CORE_VIEWS_HPP
#define RESONANCE_CORE_VIEWS_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! A row-major matrix with contiguous rows; row i starts at data + i * stride (in elements, 64 bits).
template <class T>
struct matrix_view {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  constexpr matrix_view() = default;
  RESONANCE_HOST_DEVICE constexpr matrix_view(T* d, std::int64_t r, std::int64_t c)
      : data(d), rows(r), cols(c), stride(c) {}
  RESONANCE_HOST_DEVICE constexpr matrix_view(T* d, std::int64_t r, std::int64_t c, std::int64_t s)
      : data(d), rows(r), cols(c), stride(s) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_same_v<U, T>>>
  RESONANCE_HOST_DEVICE constexpr matrix_view(const matrix_view<U>& other)
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  RESONANCE_HOST_DEVICE constexpr T* row(std::int64_t i) const { return data + i * stride; }
  RESONANCE_HOST_DEVICE constexpr bool empty() const { return rows == 0 || cols == 0; }
};

//! Read-only assignments of tokens to experts, numbered by flat slot, token-major.
//!
//! Regular: every token has `slots_per_token` slots, slot = token * slots_per_token + k (the [T,K] tables of token
//! choice; `token_offsets` and `token_of_slot` are null). Ragged: token t has the slots
//! [token_offsets[t], token_offsets[t+1]) and `token_of_slot` names each slot's token (union and expert_only merges,
//! where a token may gain experts). An id outside [0, experts) means "unassigned"; its other fields are not read.
struct assignment_view {
  std::int64_t tokens = 0;
  std::int32_t experts = 0;
  std::int32_t slots_per_token = 0;
  const std::int32_t* ids = nullptr;             //!< [slots] expert id, or outside [0, experts)
  const float* weights = nullptr;                //!< [slots] combine weight; nullable where a stage says so
  const float* affinity = nullptr;               //!< [slots] delta of the pair; nullable where a stage says so
  const std::int32_t* rank_in_expert = nullptr;  //!< [slots] 0 = best; written by merge
  const std::int64_t* token_offsets = nullptr;   //!< [tokens + 1], ragged only
  const std::int32_t* token_of_slot = nullptr;   //!< [slots], ragged only
  std::int64_t slot_capacity = 0;                //!< ragged on the device only: entries that the slot arrays have

  RESONANCE_HOST_DEVICE constexpr bool ragged() const { return token_offsets != nullptr; }
  RESONANCE_HOST_DEVICE constexpr std::int64_t begin(std::int64_t token) const {
    return ragged() ? token_offsets[token] : token * slots_per_token;
  }
  RESONANCE_HOST_DEVICE constexpr std::int64_t end(std::int64_t token) const { return begin(token + 1); }
  RESONANCE_HOST_DEVICE constexpr std::int64_t slots() const { return begin(tokens); }
  //! Slots that there can be: known without reading memory.
  RESONANCE_HOST_DEVICE constexpr std::int64_t most_slots() const {
    return ragged() ? slot_capacity : tokens * slots_per_token;
  }
  RESONANCE_HOST_DEVICE constexpr std::int64_t token(std::int64_t slot) const {
    return ragged() ? static_cast<std::int64_t>(token_of_slot[slot]) : slot / slots_per_token;
  }
  RESONANCE_HOST_DEVICE constexpr bool is_expert(std::int32_t id) const { return id >= 0 && id < experts; }
  RESONANCE_HOST_DEVICE constexpr bool assigned(std::int64_t slot) const { return is_expert(ids[slot]); }
};

//! Where token choice writes: [T,K] tables, contiguous. `topk_weights` and `topk_affinity` are nullable.
struct choice_buffers {
  std::int32_t* topk_ids = nullptr;
  float* topk_weights = nullptr;
  float* topk_affinity = nullptr;
};

//! Where merge writes. Regular merges fill `ids` and `rank_in_expert` [T,K]; ragged ones fill all of it,
//! `capacity` slots long at most, and `weights` is left to host_weights.
struct assignment_buffers {
  std::int32_t* ids = nullptr;
  float* weights = nullptr;
  float* affinity = nullptr;
  std::int32_t* rank_in_expert = nullptr;
  std::int64_t* token_offsets = nullptr;
  std::int32_t* token_of_slot = nullptr;
  std::int64_t capacity = 0;
};

//! The [T,K] tables of a token choice, seen as assignments.
inline assignment_view as_assignments(const choice_buffers& c, std::int64_t tokens, std::int32_t experts,
                                      std::int32_t top_k) {
  assignment_view v;
  v.tokens = tokens;
  v.experts = experts;
  v.slots_per_token = top_k;
  v.ids = c.topk_ids;
  v.weights = c.topk_weights;
  v.affinity = c.topk_affinity;
  return v;
}

//! A filled ragged list, seen as assignments.
inline assignment_view as_assignments(const assignment_buffers& b, std::int64_t tokens, std::int32_t experts) {
  assignment_view v;
  v.tokens = tokens;
  v.experts = experts;
  v.ids = b.ids;
  v.weights = b.weights;
  v.affinity = b.affinity;
  v.rank_in_expert = b.rank_in_expert;
  v.token_offsets = b.token_offsets;
  v.token_of_slot = b.token_of_slot;
  v.slot_capacity = b.capacity;
  return v;
}

namespace detail {

inline constexpr std::int64_t max_int32 = 0x7fffffff;

//! Slots that a table may have: their bytes, and those of the scratch beside them, then fit 64 bits.
inline constexpr std::int64_t max_slots = std::int64_t{1} << 56;

//! True when a * b fits 64 bits; both non-negative.
constexpr bool product_fits(std::int64_t a, std::int64_t b) { return a == 0 || b <= INT64_MAX / a; }

template <class T>
constexpr status check_matrix(const matrix_view<T>& m, const char* argument) {
  return checks{}
      .in_range(m.rows >= 0 && m.cols >= 0, argument)
      .in_range(m.rows <= 1 || m.stride >= m.cols, argument)
      .fits(product_fits(m.rows, m.stride > 0 ? m.stride : 1), argument)
      .present(m.data, !m.empty(), argument)
      .result();
}

//! Checks the shape fields and pointers that every consumer of assignments needs.
inline status check_assignments(const assignment_view& a, bool reads_ids,
                                std::int64_t (*slots_of)(const assignment_view&)) {
  checks c;
  c.in_range(a.tokens >= 0 && a.tokens <= max_int32, "assignments.tokens");
  c.in_range(a.experts >= 1, "assignments.experts");
  if (!c.result().ok()) return c.result();
  if (!a.ragged()) {
    c.in_range(a.slots_per_token >= 1, "assignments.slots_per_token");
    c.fits(a.slots_per_token < 1 || a.tokens <= max_slots / a.slots_per_token, "assignments.slots_per_token");
  }
  if (!c.result().ok()) return c.result();
  const std::int64_t slots = slots_of(a);
  c.in_range(slots >= 0 && slots <= max_slots, "assignments.slot_capacity");
  c.present(a.token_of_slot, a.ragged() && slots > 0, "assignments.token_of_slot");
  return c.present(a.ids, reads_ids && slots > 0, "assignments.ids").result();
}

inline status check_assignments(const assignment_view& a, bool reads_ids = true) {
  return check_assignments(a, reads_ids, [](const assignment_view& v) { return v.slots(); });
}

//! The same for arrays in device memory, which the host cannot read.
inline status check_device_assignments(const assignment_view& a, bool reads_ids = true) {
  return check_assignments(a, reads_ids, [](const assignment_view& v) { return v.most_slots(); });
}

}  // namespace detail

RESONANCE_NAMESPACE_END

#endif

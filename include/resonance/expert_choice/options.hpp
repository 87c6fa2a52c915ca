// SPDX-License-Identifier: Apache-2.0
//! \file
//! What expert choice asks for and writes, and what both backends check.
#ifndef RESONANCE_EXPERT_CHOICE_OPTIONS_HPP
#define RESONANCE_EXPERT_CHOICE_OPTIONS_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace expert_choice {

//! How many tokens each expert takes.
struct options {
  std::int64_t capacity = 1;                 //!< C >= 1: columns of the output
  const std::int64_t* capacities = nullptr;  //!< [E] C_i, clamped to [0, C]; null = C for every expert

  RESONANCE_HOST_DEVICE std::int64_t clamped(std::int64_t own) const {
    return own < 0 ? 0 : (own < capacity ? own : capacity);
  }
  RESONANCE_HOST_DEVICE std::int64_t of(std::int64_t expert) const {
    return capacities == nullptr ? capacity : clamped(capacities[expert]);
  }
};

//! Where expert choice writes: [E,C], row i = expert i, best first. `token_scores` is nullable.
struct outputs {
  std::int32_t* token_ids = nullptr;  //!< -1 in an empty slot
  float* token_scores = nullptr;      //!< 0 in an empty slot
};

}  // namespace expert_choice

namespace detail {

inline status check_expert_choice(const expert_choice::options& o, std::int64_t experts,
                                  const expert_choice::outputs& out) {
  return checks{}
      .in_range(o.capacity >= 1, "capacity")
      .fits(product_fits(o.capacity, experts), "capacity")
      .present(out.token_ids, true, "token_ids")
      .result();
}

//! Over all tokens.
inline status check_expert_choice(const matrix_view<const float>& scores, const expert_choice::options& o,
                                  const expert_choice::outputs& out) {
  return checks{}
      .also(check_matrix(scores, "scores"))
      .in_range(scores.cols >= 1 && scores.cols <= max_int32, "scores")
      .fits(scores.rows <= max_int32, "scores")
      .also(check_expert_choice(o, scores.cols, out))
      .result();
}

//! Over candidates whose shape has been checked; `any`: there may be slots.
inline status check_expert_choice(const assignment_view& candidates, bool any, const expert_choice::options& o,
                                  const expert_choice::outputs& out) {
  return checks{}
      .present(candidates.affinity, any, "candidates.affinity")
      .also(check_expert_choice(o, candidates.experts, out))
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

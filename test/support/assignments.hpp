// SPDX-License-Identifier: Apache-2.0
// What the tests of the stages after token choice share: shapes, random token choices, workspaces of the exact size.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "reference/table.hpp"
#include "resonance/core/order_key.hpp"
#include "resonance/core/row_type.hpp"
#include "resonance/core/views.hpp"
#include "resonance/core/workspace.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"

namespace support {

struct batch_shape {
  std::int64_t tokens;
  std::int32_t experts;
  std::int32_t top_k;
};

inline std::ostream& operator<<(std::ostream& out, const batch_shape& s) {
  return out << "T=" << s.tokens << " E=" << s.experts << " K=" << s.top_k;
}

//! Real and awkward shapes with at most `most_slots` slots, and two large enough to occupy eight workers.
inline std::vector<batch_shape> batch_shapes(std::int64_t most_slots = 1 << 30) {
  std::vector<batch_shape> shapes;
  for (std::int64_t tokens : {0, 1, 7, 33, 257}) {
    for (std::int32_t experts : {1, 6, 7, 13, 64, 72, 128, 257, 288, 512}) {
      for (std::int32_t top_k : std::set<std::int32_t>{1, 2, 8, 22, experts})
        if (top_k <= experts && tokens * top_k <= most_slots) shapes.push_back({tokens, experts, top_k});
    }
  }
  shapes.push_back({4099, 13, 8});
  shapes.push_back({4099, 64, 9});
  return shapes;
}

//! How hard a batch of choices is.
struct choice_traits {
  adversary deltas = adversary::mixed;
  double unassigned = 0.1;  // share of slots with -1 or an id outside [0, E)
  bool duplicates = true;   // a token may name an expert twice
};

//! Deltas [T,E], and for every token K experts named at random, with the affinity that token choice would hand on:
//! -inf for an absent pair, the largest finite value for +inf.
struct random_choices {
  batch_shape shape;
  std::vector<float> delta;       // [T,E]
  std::vector<std::int32_t> ids;  // [T,K]
  std::vector<float> affinity;    // [T,K]
  std::vector<float> weights;     // [T,K], 0 where unassigned

  random_choices(random_source& random, const batch_shape& s, const choice_traits& traits = {})
      : shape(s), delta(adversarial_values(random, count(s.tokens, s.experts), traits.deltas)) {
    const std::vector<std::int32_t> outside = {-1, s.experts, INT32_MIN, INT32_MAX};
    const auto experts = static_cast<std::size_t>(s.experts);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      std::vector<std::int32_t> order(experts);
      for (std::size_t e = 0; e < experts; ++e) order[e] = static_cast<std::int32_t>(e);
      for (std::int32_t k = 0; k < s.top_k; ++k) {
        const std::size_t place = random.between(static_cast<std::size_t>(k), experts - 1);
        std::swap(order[static_cast<std::size_t>(k)], order[place]);
        std::int32_t id = order[static_cast<std::size_t>(k)];
        if (traits.duplicates && random.coin(0.1)) id = order[random.below(static_cast<std::size_t>(k) + 1)];
        if (random.coin(traits.unassigned)) id = random.pick(outside);
        ids.push_back(id);
        affinity.push_back(affinity_of(t, id));
        weights.push_back(id >= 0 && id < s.experts ? static_cast<float>(random.uniform()) : 0.0F);
      }
    }
  }

  static std::size_t count(std::int64_t rows, std::int64_t cols) { return static_cast<std::size_t>(rows * cols); }
  std::size_t slots() const { return ids.size(); }
  std::size_t experts() const { return static_cast<std::size_t>(shape.experts); }
  std::size_t tokens() const { return static_cast<std::size_t>(shape.tokens); }
  std::size_t top_k() const { return static_cast<std::size_t>(shape.top_k); }

  float affinity_of(std::int64_t token, std::int32_t id) const {
    const float absent = -std::numeric_limits<float>::infinity();
    if (id < 0 || id >= shape.experts) return absent;
    const float value = delta[count(token, shape.experts) + static_cast<std::size_t>(id)];
    if (!(value > absent)) return absent;
    return value < std::numeric_limits<float>::max() ? value : std::numeric_limits<float>::max();
  }

  resonance::assignment_view view() const {
    resonance::assignment_view v;
    v.tokens = shape.tokens;
    v.experts = shape.experts;
    v.slots_per_token = shape.top_k;
    v.ids = ids.data();
    v.weights = weights.data();
    v.affinity = affinity.data();
    return v;
  }

  resonance::matrix_view<const float> deltas() const { return {delta.data(), shape.tokens, shape.experts}; }
  reference::matrix reference_deltas() const { return reference::widened(delta, tokens(), experts()); }
  reference::id_table reference_ids() const { return {tokens(), top_k(), ids}; }
  reference::matrix reference_weights() const { return reference::widened(weights, tokens(), top_k()); }
};

//! The ragged form of a regular list, its unassigned slots left out or kept.
struct ragged_copy {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
  std::vector<float> affinity;
  std::vector<std::int32_t> token_of_slot;
  std::vector<std::int64_t> token_offsets = {0};
  resonance::assignment_view shape;

  ragged_copy(const resonance::assignment_view& regular, bool keep_unassigned) : shape(regular) {
    for (std::int64_t t = 0; t < regular.tokens; ++t) {
      for (std::int64_t slot = regular.begin(t); slot < regular.end(t); ++slot) {
        if (!keep_unassigned && !regular.assigned(slot)) continue;
        ids.push_back(regular.ids[slot]);
        weights.push_back(regular.weights[slot]);
        affinity.push_back(regular.affinity[slot]);
        token_of_slot.push_back(static_cast<std::int32_t>(t));
      }
      token_offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
  }

  resonance::assignment_view view() const {
    resonance::assignment_view v = shape;
    v.slots_per_token = 0;
    v.ids = ids.data();
    v.weights = weights.data();
    v.affinity = affinity.data();
    v.rank_in_expert = nullptr;
    v.token_of_slot = token_of_slot.data();
    v.token_offsets = token_offsets.data();
    return v;
  }
};

//! A poisoned workspace of exactly `bytes`, at an address that no alignment fits.
class exact_workspace {
 public:
  explicit exact_workspace(std::size_t bytes) : memory_(bytes, 1) {}
  resonance::workspace_view view() { return {memory_.data(), memory_.size()}; }
  bool intact() const { return memory_.intact(); }
  bool untouched() const { return memory_.untouched(); }

 private:
  guarded_buffer<unsigned char> memory_;
};

//! All bytes of some buffers, to compare results bit for bit (NaN included).
template <class... Values>
std::string bits_of(const guarded_buffer<Values>&... buffers) {
  std::string bits;
  (bits.append(reinterpret_cast<const char*>(buffers.data()), buffers.size_bytes()), ...);
  return bits;
}

template <class Value>
std::vector<Value> values_of(const guarded_buffer<Value>& buffer) {
  return {buffer.begin(), buffer.end()};
}

inline ::testing::AssertionResult accepted(const resonance::status& s) {
  if (s.ok()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << s.argument << " " << s.message();
}

inline ::testing::AssertionResult refused(const resonance::status& s, resonance::status_code code,
                                          const std::string& argument) {
  if (s.code == code && s.argument == argument) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "got \"" << s.argument << "\" " << s.message() << ", not \"" << argument
                                       << "\" " << resonance::status{code, ""}.message();
}

}  // namespace support

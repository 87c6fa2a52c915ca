// SPDX-License-Identifier: Apache-2.0
//! \file
//! Routing in plain C++, as one writes it first: the twins that several benchmarks share.
#ifndef RESONANCE_BENCH_NAIVE_HPP
#define RESONANCE_BENCH_NAIVE_HPP

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "inputs.hpp"

namespace bench {

//! Softmax of a whole row, std::partial_sort of its indices, division by the sum of the chosen.
class naive_softmax_top_k {
 public:
  naive_softmax_top_k(std::int32_t experts, std::int32_t top_k)
      : top_k_(top_k), probability_(static_cast<std::size_t>(experts)), order_(static_cast<std::size_t>(experts)) {}

  //! delta_at(e) is expert e's logit.
  template <class DeltaAt>
  void choose(const DeltaAt& delta_at, std::int32_t* ids, float* weights) {
    const std::int32_t experts = static_cast<std::int32_t>(order_.size());
    float largest = delta_at(0);
    for (std::int32_t e = 1; e < experts; ++e) largest = std::max(largest, delta_at(e));
    float sum = 0.0f;
    for (std::int32_t e = 0; e < experts; ++e) sum += probability_[e] = std::exp(delta_at(e) - largest);
    for (float& p : probability_) p /= sum;
    std::iota(order_.begin(), order_.end(), 0);
    std::partial_sort(order_.begin(), order_.begin() + top_k_, order_.end(), [&](std::int32_t a, std::int32_t b) {
      return delta_at(a) != delta_at(b) ? delta_at(a) > delta_at(b) : a < b;
    });
    float chosen = 0.0f;
    for (std::int32_t k = 0; k < top_k_; ++k) chosen += probability_[order_[k]];
    for (std::int32_t k = 0; k < top_k_; ++k) {
      ids[k] = order_[k];
      weights[k] = probability_[order_[k]] / chosen;
    }
  }

 private:
  std::int32_t top_k_;
  std::vector<float> probability_;
  std::vector<std::int32_t> order_;
};

//! GrAP of one token: the sum of each expert's slice over the norm of the row and of the slice.
template <class Row>
void naive_grap(const Row* x, std::int64_t hidden, std::int32_t experts, float* delta) {
  float square = 0.0f;
  for (std::int64_t j = 0; j < hidden; ++j) square += to_float(x[j]) * to_float(x[j]);
  const float norm = std::sqrt(square);
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t begin = (e * hidden + experts - 1) / experts;
    const std::int64_t end = ((e + 1) * hidden + experts - 1) / experts;
    float sum = 0.0f;
    for (std::int64_t j = begin; j < end; ++j) sum += to_float(x[j]);
    delta[e] = norm > 0.0f ? sum / (norm * std::sqrt(static_cast<float>(end - begin))) : 0.0f;
  }
}

//! Slots sorted by expert with std::stable_sort; negative ids are left out.
inline std::vector<std::int32_t> naive_slots_by_expert(const std::vector<std::int32_t>& ids) {
  std::vector<std::int32_t> slots;
  for (std::size_t slot = 0; slot < ids.size(); ++slot)
    if (ids[slot] >= 0) slots.push_back(static_cast<std::int32_t>(slot));
  std::stable_sort(slots.begin(), slots.end(), [&](std::int32_t a, std::int32_t b) { return ids[a] < ids[b]; });
  return slots;
}

//! A dense plan from one stable sort.
struct naive_plan {
  std::vector<std::int32_t> expert_offsets;    // [E + 1]
  std::vector<std::int32_t> sorted_token_ids;  // [kept]
  std::vector<std::int32_t> inverse;           // [slots]

  naive_plan() = default;
  naive_plan(const std::vector<std::int32_t>& ids, std::int32_t experts)
      : expert_offsets(static_cast<std::size_t>(experts) + 1),
        sorted_token_ids(naive_slots_by_expert(ids)),
        inverse(ids.size(), -1) {
    for (std::size_t row = 0; row < sorted_token_ids.size(); ++row) {
      inverse[sorted_token_ids[row]] = static_cast<std::int32_t>(row);
      ++expert_offsets[ids[sorted_token_ids[row]] + 1];
    }
    std::partial_sum(expert_offsets.begin(), expert_offsets.end(), expert_offsets.begin());
  }
};

//! rank[slot] = place by affinity among the slots of its expert: every expert's members in a vector, std::stable_sort.
inline void naive_ranks(const std::vector<std::int32_t>& ids, const std::vector<float>& affinity, std::int32_t experts,
                        std::vector<std::int32_t>& rank) {
  std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(experts));
  for (std::size_t slot = 0; slot < ids.size(); ++slot) {
    rank[slot] = -1;
    if (ids[slot] >= 0) members[ids[slot]].push_back(static_cast<std::int32_t>(slot));
  }
  for (std::vector<std::int32_t>& slots : members) {
    std::stable_sort(slots.begin(), slots.end(),
                     [&](std::int32_t a, std::int32_t b) { return affinity[a] > affinity[b]; });
    for (std::size_t k = 0; k < slots.size(); ++k) rank[slots[k]] = static_cast<std::int32_t>(k);
  }
}

}  // namespace bench

#endif

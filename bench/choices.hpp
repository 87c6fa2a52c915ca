// SPDX-License-Identifier: Apache-2.0
//! \file
//! A token choice of random logits: what the stages behind it start from.
#ifndef RESONANCE_BENCH_CHOICES_HPP
#define RESONANCE_BENCH_CHOICES_HPP

#include <cstdint>
#include <vector>

#include <resonance/core/views.hpp>
#include "inputs.hpp"
#include "naive.hpp"
#include "shapes.hpp"

namespace bench {

struct choices {
  std::vector<float> logits;        // [T,E]
  std::vector<std::int32_t> ids;    // [T,K]
  std::vector<float> weights;       // [T,K]
  std::vector<float> affinity;      // [T,K]
  std::vector<std::int32_t> rank;   // [T,K] the rank by affinity in the slot's expert
  resonance::assignment_view view;  // all of it

  explicit choices(const shape& s)
      : logits(normal_values<float>(s.tokens * s.experts, 1)),
        ids(zeros<std::int32_t>(s.slots())),
        weights(zeros<float>(s.slots())),
        affinity(zeros<float>(s.slots())),
        rank(zeros<std::int32_t>(s.slots())) {
    naive_softmax_top_k chooser(s.experts, s.top_k);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      const float* row = logits.data() + t * s.experts;
      const std::int64_t slot = t * s.top_k;
      chooser.choose([&](std::int32_t e) { return row[e]; }, ids.data() + slot, weights.data() + slot);
      for (std::int32_t k = 0; k < s.top_k; ++k) affinity[slot + k] = row[ids[slot + k]];
    }
    naive_ranks(ids, affinity, s.experts, rank);
    view.tokens = s.tokens;
    view.experts = s.experts;
    view.slots_per_token = s.top_k;
    view.ids = ids.data();
    view.weights = weights.data();
    view.affinity = affinity.data();
    view.rank_in_expert = rank.data();
  }
  choices(const choices&) = delete;
  choices& operator=(const choices&) = delete;
};

}  // namespace bench

#endif

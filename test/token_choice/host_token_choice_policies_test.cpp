// SPDX-License-Identifier: Apache-2.0
// Every selection policy with every score function, with and without bias, renormalization and filling.
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/score.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/token_choice/policies.hpp>

#include "support/random.hpp"
#include "token_choice/choice_reference.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;
using choice_reference::expect_reference;

//! Calls check(source, options) for three expert counts and every variant of the options.
template <class Row, class Check>
void for_each_variant(std::uint64_t seed, const Check& check) {
  support::random_source random(seed);
  for (std::size_t experts : {6, 64, 288}) {
    const std::vector<float> bias = support::normal_values(random, experts, 0.3);
    const std::vector<Row> logits = choice_reference::random_logits<Row>(random, 33 * experts);
    for (int variant = 0; variant < 8; ++variant) {
      token_choice::options o;
      o.top_k = experts == 6 ? 2 : 8;
      o.correction_bias = (variant & 1) != 0 ? bias.data() : nullptr;
      o.renormalize = (variant & 2) != 0;
      o.routed_scaling_factor = o.renormalize ? 2.5F : 1.0F;
      o.missing =
          (variant & 4) != 0 ? token_choice::missing_choice::lowest_ids : token_choice::missing_choice::minus_one;
      check(choice_reference::logits_source(logits, 33, experts), o);
    }
  }
}

template <class Row, class Score>
void best_and_grouped(const Score& score) {
  for_each_variant<Row>(62, [&](const auto& source, const token_choice::options& o) {
    expect_reference(source, score, token_choice::top_k{}, o);
    for (token_choice::group_score by : {token_choice::group_score::sum_of_two_best, token_choice::group_score::best}) {
      token_choice::grouped_top_k groups;
      groups.n_group = source.experts() == 6 ? 3 : 8;
      groups.topk_group = source.experts() == 6 ? 1 : 4;
      groups.scored_by = by;
      expect_reference(source, score, groups, o);
    }
  });
}

template <class Row, class Score>
void by_mass_and_rank(const Score& score) {
  for_each_variant<Row>(63, [&](const auto& source, token_choice::options o) {
    for (double p : {0.05, 0.4, 0.9, 1.0}) expect_reference(source, score, token_choice::top_p{p}, o);
    for (float above : {-2.0F, 0.25F, 1e30F}) expect_reference(source, score, token_choice::threshold{above}, o);
    const std::vector<std::int32_t> ranks = {1, 3, 4, 5, 17, 30, 40, 63};
    expect_reference(source, score, token_choice::rank_set{ranks.data()}, o);
    o.top_k = 1;
    expect_reference(source, score, token_choice::rank_set{ranks.data()}, o);
  });
}

TEST(HostTokenChoicePolicies, AgreeWithTheReferenceForFloat32) {
  best_and_grouped<float>(affinity::identity{});
  best_and_grouped<float>(affinity::softmax{});
  best_and_grouped<float>(affinity::softmax_over_chosen{});
  best_and_grouped<float>(affinity::sigmoid{});
  best_and_grouped<float>(affinity::sqrt_softplus{});
  best_and_grouped<float>(affinity::relu_softmax{});
  by_mass_and_rank<float>(affinity::softmax{});
  by_mass_and_rank<float>(affinity::sigmoid{});
}

TEST(HostTokenChoicePolicies, AgreeWithTheReferenceForBfloat16) {
  best_and_grouped<resonance::bfloat16>(affinity::softmax{});
  by_mass_and_rank<resonance::bfloat16>(affinity::softmax{});
}

TEST(HostTokenChoicePolicies, AgreeWithTheReferenceForFloat16) {
  best_and_grouped<resonance::float16>(affinity::softmax{});
  by_mass_and_rank<resonance::float16>(affinity::softmax{});
}

TEST(HostTokenChoicePolicies, AgreeWithTheReferenceForACapAndATemperature) {
  affinity::softmax score;
  score.temperature = 0.7F;
  score.logit_cap = 3.0F;
  best_and_grouped<float>(score);
  by_mass_and_rank<float>(score);
}

}  // namespace

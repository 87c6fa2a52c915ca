// SPDX-License-Identifier: Apache-2.0
// Token choice on the device: every policy and score function, in the tile's registers and by a block.
#include <resonance/token_choice/device_token_choice.cuh>

#include "choice_case.hpp"

namespace {

using namespace choice_case;

//! K = 6 stays in a tile, K = 40 needs a block; with and without a bias, softmax weights or renormalized ones.
template <class Score, class Selection>
void expect_every_option(const Score& score, Selection selection, std::uint64_t seed) {
  support::random_source random(seed);
  constexpr std::int64_t tokens = 11;
  for (const std::int64_t experts : {16, 64, 160}) {
    const auto logits = awkward_logits(random, tokens, experts);
    const auto bias = support::normal_values(random, static_cast<std::size_t>(experts));
    const affinity::logits_input<float> input{matrix_view<const float>(logits.data(), tokens, experts)};
    for (const std::int32_t top_k : {6, 40}) {
      if (top_k > experts) continue;
      for (int variant = 0; variant < 4; ++variant) {
        SCOPED_TRACE(::testing::Message() << "E " << experts << ", K " << top_k << ", variant " << variant);
        token_choice::options o;
        o.top_k = top_k;
        o.renormalize = variant % 2 == 1;
        o.correction_bias = variant / 2 == 1 ? bias.data() : nullptr;
        o.missing = token_choice::missing_choice::lowest_ids;
        std::vector<std::int32_t> ranks;
        if constexpr (std::is_same_v<Selection, token_choice::rank_set>) {
          for (std::int32_t k = 0; k < top_k; ++k) ranks.push_back(variant % 2 == 0 ? k : 2 * k + 1);
          if (ranks.back() >= experts) continue;
          selection.ranks = ranks.data();
        }
        expect_the_hosts_bits(affinity::logits{}, input, score, selection, o);
      }
    }
  }
}

TEST(DeviceTokenChoicePolicies, Grouped) {
  token_choice::grouped_top_k groups;
  groups.n_group = 8;
  groups.topk_group = 3;
  expect_every_option(affinity::sigmoid{}, groups, 1);
  groups.scored_by = token_choice::group_score::best;
  groups.topk_group = 8;
  expect_every_option(affinity::sigmoid{}, groups, 2);
}

TEST(DeviceTokenChoicePolicies, TopP) {
  token_choice::top_p mass;
  mass.p = 0.6;
  expect_every_option(affinity::softmax_over_chosen{}, mass, 3);
  mass.p = 1.0;
  expect_every_option(affinity::softmax_over_chosen{}, mass, 4);
}

TEST(DeviceTokenChoicePolicies, RankSet) { expect_every_option(affinity::softmax{}, token_choice::rank_set{}, 5); }

TEST(DeviceTokenChoicePolicies, Threshold) {
  token_choice::threshold some;
  some.above = 0.4F;
  expect_every_option(affinity::sigmoid{}, some, 9);
}

TEST(DeviceTokenChoicePolicies, ReluSoftmax) {
  affinity::relu_softmax score;
  score.temperature = 0.5f;
  expect_every_option(score, token_choice::top_k{}, 6);
}

TEST(DeviceTokenChoicePolicies, SqrtSoftplusWithACap) {
  affinity::sqrt_softplus score;
  score.logit_cap = 1.5f;
  expect_every_option(score, token_choice::top_k{}, 7);
}

TEST(DeviceTokenChoicePolicies, Identity) { expect_every_option(affinity::identity{}, token_choice::top_k{}, 8); }

}  // namespace

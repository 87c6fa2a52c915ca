// SPDX-License-Identifier: Apache-2.0
// The choice of one row, called as a user calls it from a loop of their own. Every policy over whole batches is tested
// in host_token_choice_test.cpp.
#include <resonance/token_choice/host_row_chooser.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/score.hpp>

#include "support/poison.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct one_row {
  std::vector<std::int32_t> ids;
  std::vector<float> weights, affinity, delta;
};

template <class Score, class Selection>
one_row choose(std::vector<float> delta, const Score& score, const Selection& selection, const token_choice::options& o,
               float largest = 1000.0F) {
  const auto experts = static_cast<std::int32_t>(delta.size());
  const auto slots = static_cast<std::size_t>(o.top_k);
  resonance::detail::workspace_carver counter;
  token_choice::host_row_scratch scratch;
  scratch.carve(counter, experts, 1);
  support::guarded_buffer<char> workspace(counter.bytes(), 1);
  resonance::detail::workspace_carver carver(workspace.data());
  scratch.carve(carver, experts, 1);

  support::guarded_buffer<std::int32_t> ids(slots);
  support::guarded_buffer<float> weights(slots), slot_affinity(slots);
  const token_choice::host_row_chooser<Score, Selection> chooser(score, selection, o, experts, largest);
  chooser.choose(delta.data(), scratch, ids.data(), nullptr, nullptr);
  const std::vector<std::int32_t> ids_alone(ids.begin(), ids.end());
  chooser.choose(delta.data(), scratch, ids.data(), weights.data(), slot_affinity.data());
  EXPECT_EQ(ids_alone, std::vector<std::int32_t>(ids.begin(), ids.end()));
  EXPECT_TRUE(ids.intact() && weights.intact() && slot_affinity.intact() && workspace.intact());
  return {ids_alone, {weights.begin(), weights.end()}, {slot_affinity.begin(), slot_affinity.end()}, delta};
}

token_choice::options slots(std::int32_t k) {
  token_choice::options o;
  o.top_k = k;
  return o;
}

TEST(HostRowChooser, TakesTheBestAndCleansTheRow) {
  const one_row row =
      choose({nan, 1.0F, HUGE_VALF, -HUGE_VALF, 1.0F}, affinity::identity{}, token_choice::top_k{}, slots(4));
  EXPECT_EQ(row.ids, (std::vector<std::int32_t>{2, 1, 4, -1}));
  EXPECT_EQ(row.weights, (std::vector<float>{1000.0F, 1.0F, 1.0F, 0.0F}));
  EXPECT_EQ(row.affinity, (std::vector<float>{1000.0F, 1.0F, 1.0F, -HUGE_VALF}));
  EXPECT_EQ(row.delta, (std::vector<float>{-HUGE_VALF, 1.0F, 1000.0F, -HUGE_VALF, 1.0F}));
}

TEST(HostRowChooser, HasNothingToChooseInAnAbsentRow) {
  for (token_choice::missing_choice missing :
       {token_choice::missing_choice::minus_one, token_choice::missing_choice::lowest_ids}) {
    token_choice::options o = slots(2);
    o.missing = missing;
    const bool filled = missing == token_choice::missing_choice::lowest_ids;
    const auto check = [&](const auto& score, const auto& selection) {
      for (bool renormalize : {false, true}) {
        o.renormalize = renormalize;
        const one_row row = choose({nan, -HUGE_VALF, nan}, score, selection, o);
        EXPECT_EQ(row.ids, filled ? (std::vector<std::int32_t>{0, 1}) : (std::vector<std::int32_t>{-1, -1}));
        EXPECT_EQ(row.weights, (std::vector<float>{0.0F, 0.0F}));
      }
    };
    check(affinity::softmax{}, token_choice::top_k{});
    check(affinity::softmax_over_chosen{}, token_choice::top_k{});
    check(affinity::sigmoid{}, token_choice::grouped_top_k{});
    check(affinity::relu_softmax{}, token_choice::top_p{0.5});
  }
}

TEST(HostRowChooser, RoundingInTheScoreMakesNoTies) {
  // Both sigmoids are 1 in fp32; the second delta is the larger one.
  const one_row row = choose({40.0F, 41.0F}, affinity::sigmoid{}, token_choice::top_k{}, slots(1));
  EXPECT_EQ(row.ids[0], 1);
  EXPECT_EQ(row.weights[0], 1.0F);
}

TEST(HostRowChooser, AFlatScoreTiesToTheLowerId) {
  const one_row row = choose({-3.0F, -1.0F, -2.0F}, affinity::relu_softmax{}, token_choice::top_k{}, slots(2));
  EXPECT_EQ(row.ids, (std::vector<std::int32_t>{0, 1}));
}

TEST(HostRowChooser, GroupsAreScoredByTheirTwoBestOrTheirBest) {
  token_choice::grouped_top_k groups;
  groups.n_group = 3;
  groups.topk_group = 1;
  const std::vector<float> delta = {9.0F, 0.0F, 5.0F, 5.0F, nan, 9.5F};
  EXPECT_EQ(choose(delta, affinity::identity{}, groups, slots(2)).ids, (std::vector<std::int32_t>{2, 3}));
  groups.scored_by = token_choice::group_score::best;
  EXPECT_EQ(choose(delta, affinity::identity{}, groups, slots(2)).ids, (std::vector<std::int32_t>{5, -1}));
  groups.topk_group = 2;
  EXPECT_EQ(choose(delta, affinity::identity{}, groups, slots(3)).ids, (std::vector<std::int32_t>{5, 0, 1}));
}

TEST(HostRowChooser, EqualGroupsGoToTheLowerIndex) {
  token_choice::grouped_top_k groups;
  groups.n_group = 2;
  groups.topk_group = 1;
  EXPECT_EQ(choose({1.0F, 3.0F, 2.0F, 2.0F}, affinity::identity{}, groups, slots(2)).ids,
            (std::vector<std::int32_t>{1, 0}));
}

TEST(HostRowChooser, RanksPickPositionsOfTheOrder) {
  const std::vector<float> delta = {1.0F, 4.0F, nan, 3.0F, 2.0F};
  const std::int32_t second[] = {1};
  EXPECT_EQ(choose(delta, affinity::identity{}, token_choice::rank_set{second}, slots(1)).ids,
            (std::vector<std::int32_t>{3}));
  const std::int32_t ends[] = {0, 3, 4};
  const one_row row = choose(delta, affinity::identity{}, token_choice::rank_set{ends}, slots(3));
  EXPECT_EQ(row.ids, (std::vector<std::int32_t>{1, 0, -1}));
  EXPECT_EQ(row.weights, (std::vector<float>{4.0F, 1.0F, 0.0F}));
}

TEST(HostRowChooser, ASoftmaxRunsOverTheRowAndOverTheChosen) {
  const std::vector<float> delta = {std::log(2.0F), 0.0F, 0.0F};
  const one_row over_row = choose(delta, affinity::softmax{}, token_choice::top_k{}, slots(2));
  EXPECT_NEAR(over_row.weights[0], 0.5, 1e-6);
  EXPECT_NEAR(over_row.weights[1], 0.25, 1e-6);
  const one_row over_chosen = choose(delta, affinity::softmax_over_chosen{}, token_choice::top_k{}, slots(2));
  EXPECT_NEAR(over_chosen.weights[0], 2.0 / 3, 1e-6);
  EXPECT_NEAR(over_chosen.weights[1], 1.0 / 3, 1e-6);
  token_choice::options o = slots(2);
  o.renormalize = true;
  o.routed_scaling_factor = 3.0F;
  const one_row renormalized = choose(delta, affinity::softmax{}, token_choice::top_k{}, o);
  EXPECT_NEAR(renormalized.weights[0], 2.0, 1e-6);
  EXPECT_NEAR(renormalized.weights[1], 1.0, 1e-6);
}

}  // namespace

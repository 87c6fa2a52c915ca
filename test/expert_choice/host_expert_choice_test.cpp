// SPDX-License-Identifier: Apache-2.0
#include "resonance/expert_choice/host_expert_choice.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "expert_choice/fixture.hpp"
#include "reference/expert_choice.hpp"
#include "resonance/affinity/host_scores.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using expert_choice_test::expect_rows;
using expert_choice_test::rows;
using support::exact_workspace;
using support::guarded_buffer;

// Chooses, from a matrix or from candidates, on every executor; the results have the same bits.
template <class Source>
rows choose(const Source& source, std::int64_t tokens, std::int64_t experts, const expert_choice::options& o) {
  rows first(experts, o.capacity);
  const auto choose_into = [&](const auto& executor, rows& out) {
    std::size_t bytes = 0;
    if constexpr (std::is_same_v<Source, assignment_view>)
      bytes = expert_choice::host_expert_choice_workspace_bytes(executor, source);
    else
      bytes = expert_choice::host_expert_choice_workspace_bytes(executor, tokens);
    exact_workspace workspace(bytes);
    EXPECT_TRUE(
        support::accepted(expert_choice::host_expert_choice(executor, source, o, out.view(), workspace.view())));
    EXPECT_TRUE(out.intact() && workspace.intact());
  };
  choose_into(serial_executor{}, first);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    rows again(experts, o.capacity);
    choose_into(executor, again);
    EXPECT_TRUE(again.bits() == first.bits()) << name;
  });
  return first;
}

// The same for a source of one shape, as the fixture calls it.
auto choose_from(const support::batch_shape& s) {
  return [s](const auto& source, const expert_choice::options& o) { return choose(source, s.tokens, s.experts, o); };
}

TEST(HostExpertChoice, TakesTheBestOfAllTokens) {
  support::random_source random(1);
  for (const support::batch_shape& s : support::batch_shapes(8000)) {
    if (s.top_k > 1) continue;
    for (support::adversary kind : {support::adversary::mixed, support::adversary::ties})
      expert_choice_test::expect_best_of_all_tokens(random, s, kind, choose_from(s));
  }
}

TEST(HostExpertChoice, TakesTheBestOfItsCandidates) {
  support::random_source random(2);
  for (const support::batch_shape& s : support::batch_shapes(8000))
    expert_choice_test::expect_best_of_candidates(random, s, choose_from(s));
}

TEST(HostExpertChoice, GivesEveryExpertItsOwnCapacityWithinTheColumns) {
  support::random_source random(3);
  const support::random_choices choices(random, {33, 6, 2}, {support::adversary::ties, 0.0, false});
  const std::vector<std::int64_t> capacities = {0, 1, 5, 9, 1000, -4};
  const std::vector<std::size_t> clamped = {0, 1, 5, 9, 9, 0};
  expert_choice::options o;
  o.capacity = 9;
  o.capacities = capacities.data();
  const reference::matrix keys = choices.reference_deltas();
  expect_rows(choose(choices.deltas(), 33, 6, o), reference::expert_choice(keys, clamped), 9, choices.deltas());
  const reference::id_table ids = choices.reference_ids();
  expect_rows(choose(choices.view(), 33, 6, o), reference::expert_choice(keys, clamped, &ids), 9, choices.deltas());
}

TEST(HostExpertChoice, ReadsScoresOverTokens) {
  support::random_source random(4);
  const support::random_choices choices(random, {65, 7, 1}, {support::adversary::nans, 0.0, false});
  std::vector<float> values(choices.delta.size());
  ASSERT_TRUE(affinity::host_scores(serial_executor{}, affinity::softmax{}, choices.deltas(),
                                    matrix_view<float>(values.data(), 65, 7), affinity::softmax_axis::tokens)
                  .ok());
  const matrix_view<const float> scores(values.data(), 65, 7);
  expert_choice::options o;
  o.capacity = 20;
  expect_rows(choose(scores, 65, 7, o), reference::expert_choice(reference::widened(values, 65, 7), 20), 20, scores);
}

TEST(HostExpertChoice, MayTakeATokenTwiceThatNamesItTwice) {
  const std::vector<std::int32_t> ids = {0, 0, 0, 1};
  const std::vector<float> affinity = {3, 2, 1, 5};
  assignment_view candidates;
  candidates.tokens = 2;
  candidates.experts = 2;
  candidates.slots_per_token = 2;
  candidates.ids = ids.data();
  candidates.affinity = affinity.data();
  expert_choice::options o;
  o.capacity = 2;
  const rows got = choose(candidates, 2, 2, o);
  EXPECT_EQ(support::values_of(got.ids), (std::vector<std::int32_t>{0, 0, 1, -1}));
  EXPECT_EQ(support::values_of(got.scores), (std::vector<float>{3, 2, 5, 0}));
}

TEST(HostExpertChoice, FindsNobodyInAnEmptyList) {
  const std::vector<std::int64_t> offsets(8, 0);
  assignment_view nobody;
  nobody.tokens = 7;
  nobody.experts = 3;
  nobody.token_offsets = offsets.data();
  expert_choice::options o;
  o.capacity = 2;
  const rows got = choose(nobody, 7, 3, o);
  EXPECT_EQ(support::values_of(got.ids), std::vector<std::int32_t>(6, -1));
  EXPECT_EQ(support::values_of(got.scores), std::vector<float>(6, 0.0F));
}

TEST(HostExpertChoice, LeavesOutScoresThatNobodyAsksFor) {
  support::random_source random(5);
  const support::random_choices choices(random, {33, 13, 2});
  expert_choice::options o;
  o.capacity = 4;
  const rows full = choose(choices.deltas(), 33, 13, o);
  guarded_buffer<std::int32_t> ids(full.ids.size());
  exact_workspace workspace(expert_choice::host_expert_choice_workspace_bytes(serial_executor{}, 33));
  ASSERT_TRUE(
      expert_choice::host_expert_choice(serial_executor{}, choices.deltas(), o, {ids.data(), nullptr}, workspace.view())
          .ok());
  EXPECT_EQ(support::values_of(ids), support::values_of(full.ids));
}

class RefusedExpertChoice : public ::testing::Test {
 protected:
  RefusedExpertChoice() : random(6), choices(random, {33, 6, 2}) { o.capacity = 4; }

  template <class Source>
  void expect(const Source& source, status_code code, const std::string& argument) {
    exact_workspace workspace(1 << 16);
    const status got = expert_choice::host_expert_choice(serial_executor{}, source, o, outputs_given, workspace.view());
    EXPECT_TRUE(support::refused(got, code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  support::random_source random;
  support::random_choices choices;
  expert_choice::options o;
  rows out{6, 4};
  expert_choice::outputs outputs_given = out.view();
};

TEST_F(RefusedExpertChoice, BadScores) {
  matrix_view<const float> scores = choices.deltas();
  scores.data = nullptr;
  expect(scores, status_code::null_pointer, "scores");
  scores = choices.deltas();
  scores.stride = 5;
  expect(scores, status_code::out_of_range, "scores");
  scores = choices.deltas();
  scores.rows = -1;
  expect(scores, status_code::out_of_range, "scores");
  scores = choices.deltas();
  scores.cols = 0;
  expect(scores, status_code::out_of_range, "scores");
  scores = choices.deltas();
  scores.rows = std::int64_t{1} << 31;
  expect(scores, status_code::index_overflow, "scores");
}

TEST_F(RefusedExpertChoice, BadCandidates) {
  assignment_view candidates = choices.view();
  candidates.ids = nullptr;
  expect(candidates, status_code::null_pointer, "assignments.ids");
  candidates = choices.view();
  candidates.affinity = nullptr;
  expect(candidates, status_code::null_pointer, "candidates.affinity");
  candidates = choices.view();
  candidates.tokens = -1;
  expect(candidates, status_code::out_of_range, "assignments.tokens");
  candidates = choices.view();
  candidates.experts = 0;
  expect(candidates, status_code::out_of_range, "assignments.experts");
  candidates = choices.view();
  candidates.slots_per_token = 0;
  expect(candidates, status_code::out_of_range, "assignments.slots_per_token");
  const support::ragged_copy ragged(choices.view(), true);
  candidates = ragged.view();
  candidates.token_of_slot = nullptr;
  expect(candidates, status_code::null_pointer, "assignments.token_of_slot");
}

TEST_F(RefusedExpertChoice, BadCapacityAndOutputs) {
  o.capacity = 0;
  expect(choices.deltas(), status_code::out_of_range, "capacity");
  expect(choices.view(), status_code::out_of_range, "capacity");
  o.capacity = std::int64_t{1} << 62;
  expect(choices.deltas(), status_code::index_overflow, "capacity");
  expect(choices.view(), status_code::index_overflow, "capacity");
  o.capacity = 4;
  outputs_given.token_ids = nullptr;
  expect(choices.deltas(), status_code::null_pointer, "token_ids");
  expect(choices.view(), status_code::null_pointer, "token_ids");
}

TEST_F(RefusedExpertChoice, SmallWorkspace) {
  const auto refuse = [&](const auto& source, std::size_t bytes) {
    exact_workspace small(bytes - 1);
    for (workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
      EXPECT_TRUE(
          support::refused(expert_choice::host_expert_choice(serial_executor{}, source, o, outputs_given, workspace),
                           status_code::workspace_too_small, "workspace"));
    }
    EXPECT_TRUE(out.untouched() && small.untouched());
  };
  refuse(choices.deltas(), expert_choice::host_expert_choice_workspace_bytes(serial_executor{}, 33));
  refuse(choices.view(), expert_choice::host_expert_choice_workspace_bytes(serial_executor{}, choices.view()));
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include <resonance/balance/host_transitions.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "balance/transitions_fixture.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using transitions_test::count_table;
using transitions_test::two_layers;

std::vector<std::int64_t> counts_of(const support::any_executor& executor, const assignment_view& from,
                                    const assignment_view& to) {
  count_table table(from.experts, to.experts);
  EXPECT_TRUE(support::accepted(balance::host_transition_counts(executor, from, to, table.view())));
  return table.values();
}

TEST(HostTransitions, CountEveryPairOfSlots) {
  support::random_source random(1);
  for (std::int64_t tokens : {0, 1, 33, 4099})
    for (std::int32_t top_k : {1, 2, 5})
      for (std::int32_t next_experts : {1, 13, 64}) {
        const two_layers l(random, tokens, 8, next_experts, top_k, next_experts < 3 ? 1 : 3);
        const auto expected = transitions_test::counted(l.from.view(), l.to.view(), tokens);
        support::with_every_executor([&](const auto& executor, const std::string& name) {
          EXPECT_EQ(counts_of(executor, l.from.view(), l.to.view()), expected) << name;
        });
        const support::ragged_copy from(l.from.view(), false);
        const support::ragged_copy to(l.to.view(), true);
        EXPECT_EQ(counts_of(support::serial(), from.view(), to.view()), expected);
      }
}

TEST(HostTransitions, OfManyTokensOnEveryExecutor) {
  support::random_source random(2);
  const two_layers l(random, 70000, 16, 16, 2, 1);
  const auto expected = transitions_test::counted(l.from.view(), l.to.view(), 70000);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    EXPECT_EQ(counts_of(executor, l.from.view(), l.to.view()), expected) << name;
  });
}

// Top-1 without hostile ids: every token is one transition, and rows add up to the loads of the first layer.
TEST(HostTransitions, OfTopOneAddUpToTheLoads) {
  support::random_source random(3);
  const support::choice_traits all_assigned{support::adversary::ties, 0.0, false};
  const support::random_choices from(random, {500, 8, 1}, all_assigned);
  const support::random_choices to(random, {500, 8, 1}, all_assigned);
  const auto counts = counts_of(support::serial(), from.view(), to.view());
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), 500);
  for (std::size_t a = 0; a < 8; ++a) {
    std::int64_t load = 0;
    for (std::int32_t id : from.ids) load += id == static_cast<std::int32_t>(a) ? 1 : 0;
    const auto row = counts.begin() + static_cast<std::ptrdiff_t>(8 * a);
    EXPECT_EQ(std::accumulate(row, row + 8, std::int64_t{0}), load);
  }
}

TEST(HostTransitions, NameTheBadArgumentAndWriteNothing) {
  transitions_test::expect_refusals([](const auto& from, const auto& to, const auto& counts) {
    return balance::host_transition_counts(serial_executor{}, from, to, counts);
  });
}

}  // namespace

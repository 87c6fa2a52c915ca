// SPDX-License-Identifier: Apache-2.0
// Transition counts on the device: the host's.
#include <resonance/balance/device_transitions.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <resonance/balance/host_transitions.hpp>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <vector>

#include "balance/transitions_fixture.hpp"

namespace {

using namespace resonance;
using transitions_test::count_table;
using transitions_test::two_layers;

std::vector<std::int64_t> by_host(const assignment_view& from, const assignment_view& to) {
  count_table table(from.experts, to.experts);
  EXPECT_TRUE(support::accepted(balance::host_transition_counts(serial_executor{}, from, to, table.view())));
  return table.values();
}

std::vector<std::int64_t> by_device(const assignment_view& from, const assignment_view& to,
                                    const std::int64_t* num_tokens = nullptr) {
  count_table table(from.experts, to.experts);
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(balance::device_transition_counts(on, from, to, table.view())));
  return table.values();
}

TEST(DeviceTransitions, AreTheHosts) {
  support::random_source random(11);
  for (const std::int64_t tokens : {0, 1, 300})
    for (const std::int32_t next_experts : {1, 13, 600})
      for (const std::int32_t top_k : {1, 3}) {
        SCOPED_TRACE(::testing::Message() << tokens << " to " << next_experts << " K=" << top_k);
        const two_layers l(random, tokens, 5, next_experts, top_k, next_experts < 3 ? 1 : 2);
        SCOPED_TRACE(simt::next_schedule());
        const auto expected = by_host(l.from.view(), l.to.view());
        EXPECT_EQ(by_device(l.from.view(), l.to.view()), expected);
        EXPECT_EQ(expected, transitions_test::counted(l.from.view(), l.to.view(), tokens));
        const support::ragged_copy from(l.from.view(), true);
        const support::ragged_copy to(l.to.view(), false);
        assignment_view ragged_from = from.view();
        assignment_view ragged_to = to.view();
        ragged_from.slot_capacity = static_cast<std::int64_t>(from.ids.size());
        ragged_to.slot_capacity = static_cast<std::int64_t>(to.ids.size());
        EXPECT_EQ(by_device(ragged_from, ragged_to), expected);
      }
}

TEST(DeviceTransitions, AreTheSameUnderEverySchedule) {
  support::random_source random(12);
  const two_layers l(random, 700, 3, 4, 1, 1);
  const auto expected = by_host(l.from.view(), l.to.view());
  simt::under_every_schedule([&] { EXPECT_EQ(by_device(l.from.view(), l.to.view()), expected); });
}

TEST(DeviceTransitions, LookAtTheTokensThatThereAre) {
  support::random_source random(13);
  const two_layers l(random, 300, 5, 7, 2, 1);
  for (const std::int64_t tokens : {0, 123, 300})
    EXPECT_EQ(by_device(l.from.view(), l.to.view(), &tokens),
              transitions_test::counted(l.from.view(), l.to.view(), tokens));
}

TEST(DeviceTransitions, NameTheBadArgumentAndWriteNothing) {
  transitions_test::expect_refusals([](const auto& from, const auto& to, const auto& counts) {
    return balance::device_transition_counts(device_stream{}, from, to, counts);
  });
}

}  // namespace

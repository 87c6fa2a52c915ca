// SPDX-License-Identifier: Apache-2.0
#include "resonance/merge/device_merge.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <simt/environment.hpp>
#include <string>

#include "merge/fixture.hpp"
#include "resonance/merge/host_merge.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using merge_test::merged_arrays;
using support::exact_workspace;
using support::random_choices;

// The device refuses what the host refuses, by the same name, and writes nothing.
class RefusedDeviceMerge : public ::testing::Test {
 protected:
  RefusedDeviceMerge() : random(93), c(random, {33, 6, 2}), out(33 * 6, 33) { reset(); }

  void reset() {
    choices = c.view();
    expert = {c.deltas(), 4, nullptr};
    buffers = out.view();
  }

  template <class Policy>
  void expect_as_host(const std::string& argument) {
    exact_workspace workspace(1 << 16);
    const status expected = merge::host_merge(serial_executor{}, Policy{}, choices, expert, buffers, workspace.view());
    EXPECT_TRUE(support::refused(expected, expected.code, argument));
    EXPECT_TRUE(support::refused(merge::device_merge({}, Policy{}, choices, expert, buffers, workspace.view()),
                                 expected.code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
    reset();
  }

  support::random_source random;
  random_choices c;
  assignment_view choices;
  merge::expert_side expert;
  merged_arrays out;
  assignment_buffers buffers;
};

TEST_F(RefusedDeviceMerge, AsTheHostDoes) {
  choices.ids = nullptr;
  expect_as_host<merge::restricted>("assignments.ids");
  choices.affinity = nullptr;
  expect_as_host<merge::union_>("choices.affinity");
  choices.tokens = std::int64_t{1} << 32;
  expect_as_host<merge::expert_only>("assignments.tokens");
  choices.experts = 0;
  expect_as_host<merge::restricted>("assignments.experts");
  choices.slots_per_token = 0;
  expect_as_host<merge::intersection>("assignments.slots_per_token");
  const support::ragged_copy ragged(c.view(), true);
  choices = ragged.view();
  choices.slot_capacity = choices.slots();
  expect_as_host<merge::restricted>("choices");
  expert.affinity.data = nullptr;
  expect_as_host<merge::intersection>("expert.affinity");
  expert.affinity.rows = 32;
  expect_as_host<merge::union_>("expert.affinity");
  expert.capacity = -1;
  expect_as_host<merge::expert_only>("expert.capacity");
  buffers.rank_in_expert = nullptr;
  expect_as_host<merge::restricted>("rank_in_expert");
  buffers.ids = nullptr;
  expect_as_host<merge::intersection>("ids");
  buffers.token_offsets = nullptr;
  expect_as_host<merge::union_>("token_offsets");
  buffers.token_of_slot = nullptr;
  expect_as_host<merge::expert_only>("token_of_slot");
  buffers.affinity = nullptr;
  expect_as_host<merge::union_>("affinity");
  buffers.capacity = 33 * 2 + 6 * 4 - 1;
  expect_as_host<merge::union_>("capacity");
}

TEST_F(RefusedDeviceMerge, ASmallWorkspaceAndTooManySlots) {
  const std::size_t bytes = merge::device_merge_workspace_bytes<merge::union_>(33, 6, 2, 4);
  exact_workspace small(bytes - 1);
  const auto refuse = [&](auto policy, workspace_view workspace, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(merge::device_merge({}, policy, choices, expert, buffers, workspace), code, argument));
    EXPECT_TRUE(out.untouched() && small.untouched());
  };
  refuse(merge::union_{}, small.view(), status_code::workspace_too_small, "workspace");
  refuse(merge::union_{}, {nullptr, bytes}, status_code::workspace_too_small, "workspace");
  choices.tokens = (std::int64_t{1} << 31) - 1;
  choices.slots_per_token = 3;
  refuse(merge::restricted{}, small.view(), status_code::index_overflow, "assignments");
}

}  // namespace

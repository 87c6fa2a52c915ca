// SPDX-License-Identifier: Apache-2.0
// The experts' thresholds on the device: they take what the host's take.
#include "resonance/merge/device_expert_thresholds.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <utility>
#include <vector>

#include "host_thresholds.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

std::vector<std::uint64_t> found_by_device(const merge::expert_side& expert, const std::int64_t* num_tokens = nullptr) {
  guarded_buffer<std::uint64_t> thresholds(static_cast<std::size_t>(expert.affinity.cols));
  support::exact_workspace workspace(
      merge::device_expert_thresholds_workspace_bytes(expert.affinity.rows, expert.affinity.cols));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(merge::device_expert_thresholds(on, expert, thresholds.data(), workspace.view())));
  EXPECT_TRUE(thresholds.intact() && workspace.intact());
  return support::values_of(thresholds);
}

// The pairs that thresholds take, [T,E]. Where an expert takes all that it can, several words say so.
std::vector<bool> taken(const merge::expert_side& expert, const std::vector<std::uint64_t>& thresholds) {
  std::vector<bool> pairs;
  for (std::int64_t t = 0; t < expert.affinity.rows; ++t)
    for (std::int64_t e = 0; e < expert.affinity.cols; ++e)
      pairs.push_back(pack_key(order_key(expert.affinity.row(t)[e]), static_cast<std::uint32_t>(t)) >=
                      thresholds[static_cast<std::size_t>(e)]);
  return pairs;
}

struct table {
  std::vector<float> values;
  matrix_view<const float> view;
  std::vector<std::int64_t> capacities;  // [E] any count, a negative one among them

  table(support::random_source& random, std::int64_t tokens, std::int64_t experts, support::adversary kind)
      : values(support::adversarial_values(random, static_cast<std::size_t>(tokens * (experts + 5)), kind)),
        view(values.data(), tokens, experts, experts + 5) {
    for (std::int64_t e = 0; e < experts; ++e)
      capacities.push_back(static_cast<std::int64_t>(random.below(static_cast<std::size_t>(tokens) + 3)) - 1);
  }
  merge::expert_side own() const { return {view, 0, capacities.data()}; }
  merge::expert_side same() const { return {view, view.rows / 3 + 1, nullptr}; }
};

void expect_as_host(const merge::expert_side& expert) {
  SCOPED_TRACE(::testing::Message() << "T=" << expert.affinity.rows << " E=" << expert.affinity.cols << " "
                                    << simt::next_schedule());
  EXPECT_EQ(taken(expert, found_by_device(expert)), taken(expert, host_thresholds(expert)));
}

// Tables that are staged in shared memory and (T = 1200) one that is not.
TEST(DeviceExpertThresholds, AreTheHosts) {
  support::random_source random(1);
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{0, 7},   {1, 1},    {31, 13}, {32, 64},
                                                                     {33, 72}, {257, 13}, {1200, 9}};
  for (const auto& [tokens, experts] : shapes) {
    for (const support::adversary kind :
         {support::adversary::mixed, support::adversary::ties, support::adversary::constant}) {
      const table scores(random, tokens, experts, kind);
      expect_as_host(scores.own());
      expect_as_host(scores.same());
    }
  }
  for (const std::int64_t experts : {257, 576, 1024})
    expect_as_host(table(random, 33, experts, support::adversary::mixed).own());
}

TEST(DeviceExpertThresholds, AreTheSameUnderEverySchedule) {
  support::random_source random(3);
  const table staged(random, 200, 9, support::adversary::ties);
  const table read_again(random, 1200, 3, support::adversary::mixed);
  for (const merge::expert_side& expert : {staged.own(), read_again.own()}) {
    const std::vector<bool> expected = taken(expert, host_thresholds(expert));
    simt::under_every_schedule([&] { EXPECT_EQ(taken(expert, found_by_device(expert)), expected); });
  }
}

TEST(DeviceExpertThresholds, AreOfTheTokensThatThereAre) {
  support::random_source random(2);
  const auto values = support::normal_values(random, 300 * 9);
  for (const std::int64_t tokens : {0, 5, 300}) {
    const merge::expert_side all{{values.data(), 300, 9}, 40, nullptr};
    const merge::expert_side there{{values.data(), tokens, 9}, 40, nullptr};
    EXPECT_EQ(taken(there, found_by_device(all, &tokens)), taken(there, host_thresholds(there))) << tokens;
  }
}

TEST(DeviceExpertThresholds, RefusesBadArguments) {
  const std::vector<float> values(60, 1.0F);
  guarded_buffer<std::uint64_t> out(6);
  const merge::expert_side good{{values.data(), 10, 6}, 2, nullptr};
  const auto expect = [&](const merge::expert_side& expert, std::uint64_t* thresholds, status_code code,
                          const char* argument) {
    EXPECT_TRUE(support::refused(merge::device_expert_thresholds({}, expert, thresholds, {}), code, argument));
    EXPECT_TRUE(out.untouched());
  };
  merge::expert_side bad = good;
  bad.affinity.data = nullptr;
  expect(bad, out.data(), status_code::null_pointer, "expert.affinity");
  bad = good;
  bad.affinity.cols = 0;
  expect(bad, out.data(), status_code::out_of_range, "expert.affinity");
  bad = good;
  bad.affinity.rows = std::int64_t{1} << 31;
  expect(bad, out.data(), status_code::index_overflow, "expert.affinity");
  bad = good;
  bad.capacity = -1;
  expect(bad, out.data(), status_code::out_of_range, "expert.capacity");
  expect(good, nullptr, status_code::null_pointer, "thresholds");
}

}  // namespace

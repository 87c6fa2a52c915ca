// SPDX-License-Identifier: Apache-2.0
// The experts' thresholds on the device: the same words as the host's.
#include "resonance/merge/device_expert_thresholds.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <simt/environment.hpp>
#include <vector>

#include "resonance/core/executor.hpp"
#include "resonance/merge/host_merge.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

std::vector<std::uint64_t> found_by_host(const merge::expert_side& expert) {
  std::vector<std::uint64_t> candidates(static_cast<std::size_t>(expert.affinity.rows));
  std::vector<std::uint64_t> thresholds(static_cast<std::size_t>(expert.affinity.cols));
  detail::expert_thresholds(serial_executor{}, expert, candidates.data(), thresholds.data());
  return thresholds;
}

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

// Tables that are staged in shared memory and (from T = 1200) tables that are not.
TEST(DeviceExpertThresholds, AreTheHosts) {
  support::random_source random(1);
  for (const std::int64_t tokens : {0, 1, 31, 32, 33, 257, 1200}) {
    for (const std::int64_t experts : {1, 7, 13, 64, 257, 1024}) {
      if (tokens * experts > 20000) continue;
      for (const support::adversary kind :
           {support::adversary::mixed, support::adversary::ties, support::adversary::constant}) {
        SCOPED_TRACE(::testing::Message() << "T=" << tokens << " E=" << experts << " " << support::name_of(kind));
        const std::int64_t stride = experts + 5;
        const auto values = support::adversarial_values(random, static_cast<std::size_t>(tokens * stride), kind);
        std::vector<std::int64_t> capacities;
        for (std::int64_t e = 0; e < experts; ++e)
          capacities.push_back(static_cast<std::int64_t>(random.below(static_cast<std::size_t>(tokens) + 3)) - 1);
        merge::expert_side own{{values.data(), tokens, experts, stride}, 0, capacities.data()};
        merge::expert_side same{{values.data(), tokens, experts, stride}, tokens / 3 + 1, nullptr};
        for (const merge::expert_side& expert : {own, same}) {
          const std::vector<std::uint64_t> expected = found_by_host(expert);
          if (experts < 100) {
            simt::under_every_schedule([&] { EXPECT_EQ(found_by_device(expert), expected); });
          } else {
            EXPECT_EQ(found_by_device(expert), expected);
          }
        }
      }
    }
  }
}

TEST(DeviceExpertThresholds, AreOfTheTokensThatThereAre) {
  support::random_source random(2);
  const auto values = support::normal_values(random, 300 * 9);
  for (const std::int64_t tokens : {0, 5, 300}) {
    const merge::expert_side all{{values.data(), 300, 9}, 40, nullptr};
    const merge::expert_side there{{values.data(), tokens, 9}, 40, nullptr};
    EXPECT_EQ(found_by_device(all, &tokens), found_by_host(there)) << tokens;
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

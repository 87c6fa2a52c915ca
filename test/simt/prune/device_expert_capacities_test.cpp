// SPDX-License-Identifier: Apache-2.0
// The experts' capacities on the device: the same numbers as the host's and the reference's, under every rule.
#include "resonance/prune/device_expert_capacities.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <utility>
#include <vector>

#include "prune/expert_capacities_reference.hpp"
#include "resonance/core/executor.hpp"
#include "resonance/prune/host_expert_capacities.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

prune::batch_facts batch_of(const matrix_view<const float>& affinity) {
  prune::batch_facts batch;
  batch.tokens = affinity.rows;
  batch.experts = static_cast<std::int32_t>(affinity.cols);
  batch.top_k = 2;
  batch.hidden = 64;
  batch.delta_max = 0.3F;
  return batch;
}

template <class Rule>
std::vector<std::int64_t> found_by_host(const Rule& rule, const matrix_view<const float>& affinity, std::int64_t cap,
                                        const prune::batch_facts& batch) {
  std::vector<std::int64_t> capacities(static_cast<std::size_t>(affinity.cols));
  exact_workspace workspace(prune::host_expert_capacities_workspace_bytes<Rule>(serial_executor{}, affinity.rows));
  EXPECT_TRUE(support::accepted(prune::host_expert_capacities(serial_executor{}, rule, affinity, batch, cap,
                                                              capacities.data(), workspace.view())));
  return capacities;
}

template <class Rule>
std::vector<std::int64_t> run_on_device(const Rule& rule, const matrix_view<const float>& affinity,
                                        const prune::batch_facts& batch, std::int64_t cap,
                                        const float* delta_max = nullptr, const std::int64_t* num_tokens = nullptr) {
  guarded_buffer<std::int64_t> capacities(static_cast<std::size_t>(affinity.cols));
  exact_workspace workspace(prune::device_expert_capacities_workspace_bytes<Rule>(affinity.rows));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(
      prune::device_expert_capacities(on, rule, affinity, batch, delta_max, cap, capacities.data(), workspace.view())));
  EXPECT_TRUE(capacities.intact() && workspace.intact());
  return support::values_of(capacities);
}

template <class Rule>
std::vector<std::int64_t> found_by_device(const Rule& rule, const matrix_view<const float>& affinity, std::int64_t cap,
                                          const float* delta_max = nullptr, const std::int64_t* num_tokens = nullptr) {
  return run_on_device(rule, affinity, batch_of(affinity), cap, delta_max, num_tokens);
}

template <class Rule>
void expect_as_host(const Rule& rule, const matrix_view<const float>& affinity) {
  for (const std::int64_t cap : {-1, 5}) {
    SCOPED_TRACE(::testing::Message() << "cap " << cap << " " << simt::next_schedule());
    EXPECT_EQ(found_by_device(rule, affinity, cap), found_by_host(rule, affinity, cap, batch_of(affinity)));
  }
}

//! visit(affinity): tables of many shapes and, in turn, kinds; staged in shared memory and (T = 700) not.
template <class Visit>
void with_tables(const Visit& visit) {
  support::random_source random(1);
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{0, 7},  {1, 1},  {31, 13},  {33, 1}, {33, 13},
                                                                     {64, 7}, {65, 7}, {257, 13}, {700, 9}};
  for (const auto& [tokens, experts] : shapes) {
    for (const support::adversary kind : support::all_adversaries()) {
      SCOPED_TRACE(::testing::Message() << "T=" << tokens << " E=" << experts << " " << support::name_of(kind));
      const std::int64_t stride = experts + 2;
      const auto values = support::adversarial_values(random, static_cast<std::size_t>(tokens * stride), kind);
      visit(matrix_view<const float>(values.data(), tokens, experts, stride));
    }
  }
  for (const std::int64_t experts : {257, 576}) {
    const auto values = support::normal_values(random, static_cast<std::size_t>(33 * experts));
    visit(matrix_view<const float>(values.data(), 33, experts));
  }
}

TEST(DeviceExpertCapacities, AgreeWithTheReference) {
  support::random_source random(9);
  const auto run = [](const auto&... arguments) { return run_on_device(arguments...); };
  for (const support::batch_shape& s :
       {support::batch_shape{0, 13, 2}, {1, 1, 1}, {33, 72, 8}, {257, 13, 2}, {33, 257, 2}})
    prune_test::expect_reference_capacities(random, s, run);
}

TEST(DeviceExpertCapacities, OfAffinityMassAreTheHosts) {
  const std::vector<double> rhos = {0.1, 0.76, 1.0};
  std::size_t turn = 0;
  with_tables([&](const matrix_view<const float>& affinity) {
    expect_as_host(prune::affinity_mass{rhos[turn++ % rhos.size()]}, affinity);
  });
}

TEST(DeviceExpertCapacities, OfTheNumberOfTokensAreTheHosts) {
  with_tables([&](const matrix_view<const float>& affinity) { expect_as_host(prune::unlimited{}, affinity); });
}

TEST(DeviceExpertCapacities, AreTheSameUnderEverySchedule) {
  support::random_source random(4);
  const auto values = support::adversarial_values(random, 700 * 3, support::adversary::extremes);
  for (const std::int64_t tokens : {200, 700}) {
    const matrix_view<const float> affinity(values.data(), tokens, 3);
    const prune::affinity_mass rule{0.9};
    const auto expected = found_by_host(rule, affinity, -1, batch_of(affinity));
    simt::under_every_schedule([&] { EXPECT_EQ(found_by_device(rule, affinity, -1), expected); });
  }
}

TEST(DeviceExpertCapacities, OfTheOtherRulesAreTheHosts) {
  support::random_source random(2);
  const auto values = support::normal_values(random, 33 * 6);
  const matrix_view<const float> affinity(values.data(), 33, 6);
  expect_as_host(prune::fixed{3}, affinity);
  expect_as_host(prune::factor{1.1}, affinity);
  expect_as_host(prune::heterogeneous_factor{1.1, 0.75, 4, false}, affinity);
  expect_as_host(prune::lower_bound{}, affinity);
  const std::vector<std::int64_t> own = {0, 1, 2, 30, 40, 7};
  expect_as_host(prune::per_expert{own.data()}, affinity);
}

TEST(DeviceExpertCapacities, ReadTheBatchsBestAffinityOnTheDevice) {
  const std::vector<float> values(64 * 4, 1.0F);
  const matrix_view<const float> affinity(values.data(), 64, 4);
  const float best = 0.31F;
  prune::batch_facts batch = batch_of(affinity);
  batch.delta_max = best;
  const std::vector<std::int64_t> expected = found_by_host(prune::lower_bound{}, affinity, -1, batch);
  EXPECT_EQ(found_by_device(prune::lower_bound{}, affinity, -1, &best), expected);
  const float other = 0.0F;
  EXPECT_NE(found_by_device(prune::lower_bound{}, affinity, -1, &other), expected);
}

TEST(DeviceExpertCapacities, AreOfTheTokensThatThereAre) {
  support::random_source random(3);
  const auto values = support::normal_values(random, 300 * 9);
  const matrix_view<const float> all(values.data(), 300, 9);
  for (const std::int64_t tokens : {0, 5, 300}) {
    const matrix_view<const float> there(values.data(), tokens, 9);
    EXPECT_EQ(found_by_device(prune::affinity_mass{0.5}, all, -1, nullptr, &tokens),
              found_by_host(prune::affinity_mass{0.5}, there, -1, batch_of(there)));
    EXPECT_EQ(found_by_device(prune::factor{1.0}, all, -1, nullptr, &tokens),
              found_by_host(prune::factor{1.0}, there, -1, batch_of(there)));
  }
}

class RefusedDeviceExpertCapacities : public ::testing::Test {
 protected:
  template <class Rule>
  void expect(const Rule& rule, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(
        prune::device_expert_capacities({}, rule, affinity, batch, nullptr, cap, capacities, {}), code, argument));
    EXPECT_TRUE(out.untouched()) << argument;
  }

  const std::vector<float> values = std::vector<float>(33 * 6, 1.0F);
  matrix_view<const float> affinity{values.data(), 33, 6};
  prune::batch_facts batch = batch_of(affinity);
  std::int64_t cap = -1;
  guarded_buffer<std::int64_t> out{6};
  std::int64_t* capacities = out.data();
};

TEST_F(RefusedDeviceExpertCapacities, BadArguments) {
  const matrix_view<const float> good = affinity;
  affinity.data = nullptr;
  expect(prune::unlimited{}, status_code::null_pointer, "affinity");
  affinity = good;
  affinity.rows = 32;
  expect(prune::unlimited{}, status_code::shape_mismatch, "affinity");
  affinity = good;
  affinity.cols = 5;
  expect(prune::unlimited{}, status_code::shape_mismatch, "affinity");
  affinity.cols = 6;
  batch.tokens = affinity.rows = std::int64_t{1} << 31;
  expect(prune::unlimited{}, status_code::index_overflow, "affinity");
  affinity = good;
  batch = batch_of(good);
  cap = -2;
  expect(prune::unlimited{}, status_code::out_of_range, "capacity_cap");
  cap = -1;
  batch.hidden = 0;
  expect(prune::fixed{-1}, status_code::out_of_range, "fixed");
  expect(prune::affinity_mass{std::nan("")}, status_code::out_of_range, "rho");
  expect(prune::lower_bound{}, status_code::out_of_range, "hidden");
  expect(prune::per_expert{}, status_code::null_pointer, "capacities");
  capacities = nullptr;
  expect(prune::unlimited{}, status_code::null_pointer, "capacities");
}

}  // namespace

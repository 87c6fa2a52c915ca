// SPDX-License-Identifier: Apache-2.0
#include "resonance/offline/bit_allocation.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

struct layer {
  std::vector<double> share, weight, error;
  double alpha = 1, beta = 1, gamma = 2;

  layer(support::random_source& random, std::size_t experts) {
    for (std::size_t e = 0; e < experts; ++e) {
      share.push_back(random.uniform());
      weight.push_back(random.uniform());
      const double scale = random.uniform();
      for (const double noise : {1.0, 0.4, 0.1}) error.push_back(scale * noise * (0.5 + random.uniform()));
    }
  }
  std::int32_t experts() const { return static_cast<std::int32_t>(share.size()); }
  offline::bit_costs costs() const { return {share.data(), weight.data(), error.data(), alpha, beta, gamma}; }
  double cost_of(const std::vector<std::int32_t>& bits) const {
    double sum = 0;
    for (std::size_t e = 0; e < bits.size(); ++e)
      sum += std::pow(share[e], alpha) * std::pow(weight[e], beta) *
             std::pow(error[3 * e + static_cast<std::size_t>(bits[e]) - 1], gamma);
    return sum;
  }
};

struct allocation {
  std::vector<std::int32_t> bits;
  double cost;
};

allocation allocate(const layer& l, std::int64_t total) {
  guarded_buffer<std::int32_t> bits(l.share.size());
  guarded_buffer<double> cost(1);
  exact_workspace workspace(offline::allocate_bits_workspace_bytes(l.experts(), total));
  EXPECT_TRUE(support::accepted(
      offline::allocate_bits(l.costs(), l.experts(), total, bits.data(), cost.data(), workspace.view())));
  EXPECT_TRUE(bits.intact() && cost.intact() && workspace.intact());
  return {support::values_of(bits), cost[0]};
}

//! All 3^E ways.
allocation by_trying_all(const layer& l, std::int64_t total) {
  allocation best{{}, std::numeric_limits<double>::infinity()};
  std::vector<std::int32_t> bits(l.share.size(), 1);
  for (;;) {
    const bool has_three = std::count(bits.begin(), bits.end(), 3) > 0;
    const bool has_two = std::count(bits.begin(), bits.end(), 2) > 0;
    if (has_three && has_two && std::accumulate(bits.begin(), bits.end(), std::int64_t{0}) == total &&
        l.cost_of(bits) < best.cost)
      best = {bits, l.cost_of(bits)};
    std::size_t e = 0;
    while (e < bits.size() && bits[e] == 3) bits[e++] = 1;
    if (e == bits.size()) return best;
    ++bits[e];
  }
}

TEST(BitAllocation, IsTheBestOfAllWays) {
  support::random_source random(1);
  for (std::size_t experts = 2; experts <= 8; ++experts) {
    layer l(random, experts);
    if (experts % 2 == 0) l.beta = 1.5;
    for (std::int64_t total = l.experts() + 3; total <= 3 * l.experts() - 1; ++total) {
      SCOPED_TRACE(::testing::Message() << "E=" << experts << " bits=" << total);
      const allocation got = allocate(l, total);
      const allocation expected = by_trying_all(l, total);
      EXPECT_EQ(got.bits, expected.bits);
      EXPECT_NEAR(got.cost, expected.cost, 1e-12 * expected.cost);
    }
  }
}

// 20, 16 and 12 bits of 8 experts: 2.5, 2 and 1.5 bits on average.
TEST(BitAllocation, SpendsTheBudgetWithATwoAndAThree) {
  support::random_source random(2);
  for (const std::size_t experts : {8, 64, 256}) {
    const layer l(random, experts);
    for (const double mean : {2.5, 2.0, 1.5}) {
      const auto total = static_cast<std::int64_t>(mean * static_cast<double>(experts));
      const allocation got = allocate(l, total);
      EXPECT_EQ(std::accumulate(got.bits.begin(), got.bits.end(), std::int64_t{0}), total);
      EXPECT_GT(std::count(got.bits.begin(), got.bits.end(), 3), 0);
      EXPECT_GT(std::count(got.bits.begin(), got.bits.end(), 2), 0);
      EXPECT_NEAR(got.cost, l.cost_of(got.bits), 1e-12 * got.cost);
      layer scaled = l;  // phi and w normalized, or in thousands: the same allocation
      for (double& share : scaled.share) share *= 1024;
      EXPECT_EQ(allocate(scaled, total).bits, got.bits);
    }
  }
}

TEST(BitAllocation, EqualCostsGiveFewerBitsToTheEarlier) {
  support::random_source random(3);
  layer l(random, 4);
  std::fill(l.share.begin(), l.share.end(), 0.0);
  EXPECT_EQ(allocate(l, 8).bits, (std::vector<std::int32_t>{1, 2, 2, 3}));
  EXPECT_EQ(allocate(l, 7).bits, (std::vector<std::int32_t>{1, 1, 2, 3}));
}

TEST(BitAllocationErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(4);
  const layer l(random, 4);
  guarded_buffer<std::int32_t> bits(4);
  guarded_buffer<double> cost(1);
  exact_workspace workspace(offline::allocate_bits_workspace_bytes(4, 8));
  const auto expect = [&](const offline::bit_costs& costs, std::int32_t experts, std::int64_t total, std::int32_t* out,
                          std::size_t bytes, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(
        offline::allocate_bits(costs, experts, total, out, cost.data(), {workspace.view().data, bytes}), code,
        argument));
    EXPECT_TRUE(bits.untouched() && cost.untouched() && workspace.untouched()) << argument;
  };
  const std::size_t bytes = workspace.view().bytes;
  const double nan = std::nan("");
  for (const std::int32_t experts : {1, 0, -1})
    expect(l.costs(), experts, 8, bits.data(), bytes, status_code::out_of_range, "experts");
  expect(l.costs(), 1 << 21, 1 << 22, bits.data(), bytes, status_code::index_overflow, "experts");
  for (const std::int64_t total : {-1, 0, 6, 12, 100})  // 7 = 1 + 1 + 2 + 3; 11 = 2 + 3 + 3 + 3
    expect(l.costs(), 4, total, bits.data(), bytes, status_code::out_of_range, "total_bits");
  const auto expect_costs = [&](const offline::bit_costs& costs, status_code code, const char* argument) {
    expect(costs, 4, 8, bits.data(), bytes, code, argument);
  };
  offline::bit_costs costs = l.costs();
  costs.activation_share = nullptr;
  expect_costs(costs, status_code::null_pointer, "activation_share");
  costs = l.costs();
  costs.mean_weight = nullptr;
  expect_costs(costs, status_code::null_pointer, "mean_weight");
  costs = l.costs();
  costs.error = nullptr;
  expect_costs(costs, status_code::null_pointer, "error");
  for (const double bad : {-1.0, nan, std::numeric_limits<double>::infinity()}) {
    costs = l.costs();
    costs.alpha = bad;
    expect_costs(costs, status_code::out_of_range, "alpha");
    costs = l.costs();
    costs.beta = bad;
    expect_costs(costs, status_code::out_of_range, "beta");
    costs = l.costs();
    costs.gamma = bad;
    expect_costs(costs, status_code::out_of_range, "gamma");
    layer broken = l;
    broken.share[3] = bad;
    expect_costs(broken.costs(), status_code::out_of_range, "activation_share");
    broken = l;
    broken.weight[0] = bad;
    expect_costs(broken.costs(), status_code::out_of_range, "mean_weight");
    broken = l;
    broken.error[7] = bad;
    expect_costs(broken.costs(), status_code::out_of_range, "error");
  }
  expect(l.costs(), 4, 8, nullptr, bytes, status_code::null_pointer, "bits");
  expect(l.costs(), 4, 8, bits.data(), bytes - 1, status_code::workspace_too_small, "workspace");
}

}  // namespace

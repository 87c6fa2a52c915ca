// SPDX-License-Identifier: Apache-2.0
#include "resonance/balance/losses.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "reference/balance.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;

void expect_close(double got, double expected) { EXPECT_NEAR(got, expected, 1e-12 * std::fabs(expected) + 1e-15); }

std::vector<double> random_distribution(support::random_source& random, std::size_t experts, double zero_share) {
  std::vector<double> shares(experts);
  double sum = 0;
  for (double& share : shares) sum += share = random.coin(zero_share) ? 0.0 : random.uniform();
  for (double& share : shares) share = sum > 0 ? share / sum : 1.0 / static_cast<double>(experts);
  return shares;
}

template <class Count>
class LoadFigures : public ::testing::Test {};
using count_types = ::testing::Types<std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(LoadFigures, count_types, );

TYPED_TEST(LoadFigures, AgreeWithTheReference) {
  support::random_source random(101);
  for (std::int32_t experts : {1, 6, 7, 13, 64, 72, 128, 257, 288, 512}) {
    SCOPED_TRACE(experts);
    std::vector<TypeParam> counts;
    std::vector<std::size_t> plain;
    for (std::int32_t e = 0; e < experts; ++e) {
      plain.push_back(random.coin(0.3) ? 0 : random.below(1000));
      counts.push_back(static_cast<TypeParam>(plain.back()));
    }
    const std::vector<double> probability = random_distribution(random, plain.size(), 0.2);
    expect_close(balance::load_balance_loss(0.01, experts, counts.data(), probability.data()),
                 reference::auxiliary_loss(reference::assignment_share(plain), probability, 0.01));
    expect_close(balance::max_over_mean_load(experts, counts.data()), reference::max_over_mean_load(plain));
  }
}

TYPED_TEST(LoadFigures, TakeTheirKnownValues) {
  const std::vector<TypeParam> uniform(8, 5), nothing(8, 0), one = {0, 0, 12, 0, 0, 0, 0, 0};
  const std::vector<double> even(8, 0.125);
  EXPECT_DOUBLE_EQ(balance::load_balance_loss(0.25, 8, uniform.data(), even.data()), 0.25);
  EXPECT_EQ(balance::load_balance_loss(0.25, 8, nothing.data(), even.data()), 0.0);
  EXPECT_EQ(balance::max_over_mean_load(8, uniform.data()), 1.0);
  EXPECT_EQ(balance::max_over_mean_load(8, nothing.data()), 0.0);
  EXPECT_EQ(balance::max_over_mean_load(8, one.data()), 8.0);
}

// MoE++: L_b = sum_i eta_i f_i P_i.
TYPED_TEST(LoadFigures, OfHeterogeneousExpertsAgreeWithTheReference) {
  support::random_source random(103);
  for (std::int32_t experts : {1, 6, 12, 20, 40, 257}) {
    for (std::int32_t full : {0, experts / 3, experts}) {
      SCOPED_TRACE(::testing::Message() << experts << " experts, full " << full);
      std::vector<TypeParam> counts;
      std::vector<std::size_t> plain;
      for (std::int32_t e = 0; e < experts; ++e) {
        plain.push_back(random.coin(0.3) ? 0 : random.below(1000));
        counts.push_back(static_cast<TypeParam>(plain.back()));
      }
      const std::vector<double> probability = random_distribution(random, plain.size(), 0.2);
      for (double tau : {0.1, 0.75, 1.0})
        expect_close(balance::heterogeneous_balance_loss(tau, experts, full, 700, counts.data(), probability.data()),
                     reference::heterogeneous_loss(plain, probability, tau, static_cast<std::size_t>(full), 700));
    }
  }
}

TYPED_TEST(LoadFigures, OfHeterogeneousExpertsAreTheStandardLossAtTauOne) {
  support::random_source random(104);
  constexpr std::int32_t experts = 12;
  constexpr std::int64_t tokens = 500;
  for (const std::int64_t top_k : {1, 2}) {
    std::vector<TypeParam> counts(experts, 0);
    for (std::int64_t slot = 0; slot < tokens * top_k; ++slot) ++counts[random.below(experts)];
    const std::vector<double> probability = random_distribution(random, experts, 0.2);
    const double standard = balance::load_balance_loss(1.0, experts, counts.data(), probability.data());
    // f adds up to K: with K = 1 it is 1 / N of the standard loss.
    expect_close(balance::heterogeneous_balance_loss(1.0, experts, 8, tokens, counts.data(), probability.data()),
                 static_cast<double>(top_k) * standard / experts);
  }
}

TYPED_TEST(LoadFigures, OfHeterogeneousExpertsTakeTheirKnownValues) {
  const std::vector<TypeParam> counts = {3, 1, 4, 0};
  const std::vector<double> probability = {0.5, 0.25, 0.125, 0.125};
  // (3 * .5 + 1 * .25) / 4 + tau * (4 * .125 + 0) / 4
  EXPECT_DOUBLE_EQ(balance::heterogeneous_balance_loss(0.5, 4, 2, 4, counts.data(), probability.data()), 0.5);
  EXPECT_DOUBLE_EQ(balance::heterogeneous_balance_loss(0.5, 4, 4, 4, counts.data(), probability.data()), 0.5625);
  EXPECT_EQ(balance::heterogeneous_balance_loss(0.5, 4, 2, 0, counts.data(), probability.data()), 0.0);
}

// vector<bool> has no bool* to hand out.
std::unique_ptr<bool[]> flags_of(const std::vector<bool>& local) {
  std::unique_ptr<bool[]> flags(new bool[local.size()]);
  for (std::size_t e = 0; e < local.size(); ++e) flags[e] = local[e];
  return flags;
}

TEST(LocalityLoss, AgreesWithTheReference) {
  support::random_source random(102);
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    const std::size_t experts = random.between(2, 300);
    std::vector<bool> local(experts);
    for (std::size_t e = 0; e < experts; ++e) local[e] = random.coin();
    local[0] = true;
    local[1] = false;  // with all experts local the contract's outer share is 0 / 0, see below
    const std::vector<double> current = random_distribution(random, experts, 0.2);
    const double epsilon = 0.01 + 0.9 * random.uniform();
    double loss = -1;
    ASSERT_TRUE(balance::locality_loss(0.5, epsilon, static_cast<std::int32_t>(experts), current.data(),
                                       flags_of(local).get(), &loss)
                    .ok());
    expect_close(loss, reference::locality_loss(current, local, epsilon, 0.5));
  }
}

TEST(LocalityLoss, TakesItsKnownValues) {
  const std::array<bool, 4> local = {true, true, false, false};
  const std::array<bool, 4> all = {true, true, true, true};
  const std::array<double, 4> wanted = {0.45, 0.45, 0.05, 0.05};
  const std::array<double, 4> inside = {0.5, 0.5, 0.0, 0.0};
  const std::array<double, 4> uniform = {0.25, 0.25, 0.25, 0.25};
  const auto loss = [](double epsilon, const auto& distribution, const auto& is_local) {
    double value = -1;
    EXPECT_TRUE(balance::locality_loss(2.0, epsilon, 4, distribution.data(), is_local.data(), &value).ok());
    return value;
  };
  EXPECT_NEAR(loss(0.1, wanted, local), 0.0, 1e-15);
  EXPECT_NEAR(loss(0.0, inside, local), 0.0, 1e-15);
  EXPECT_EQ(loss(0.0, uniform, local), std::numeric_limits<double>::infinity());
  EXPECT_NEAR(loss(0.3, uniform, all), 0.0, 1e-15);  // uniform over all where every expert is local
  EXPECT_NEAR(loss(0.5, inside, local), 2.0 * std::log(2.0), 1e-15);
}

TEST(LocalityLoss, RefusesBadArgumentsAndLeavesTheResult) {
  const std::array<double, 2> current = {0.5, 0.5};
  const std::array<bool, 2> local = {true, false};
  const std::array<bool, 2> nowhere = {false, false};
  support::guarded_buffer<double> loss(1);
  const auto expect = [&](const status& got, status_code code, const char* argument) {
    EXPECT_TRUE(support::refused(got, code, argument));
    EXPECT_TRUE(loss.untouched());
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (double epsilon : {-0.1, 1.0, nan})
    expect(balance::locality_loss(1, epsilon, 2, current.data(), local.data(), loss.data()), status_code::out_of_range,
           "epsilon");
  expect(balance::locality_loss(1, 0.1, 0, current.data(), local.data(), loss.data()), status_code::out_of_range,
         "experts");
  expect(balance::locality_loss(1, 0.1, 2, current.data(), nowhere.data(), loss.data()), status_code::out_of_range,
         "is_local");
  expect(balance::locality_loss(1, 0.1, 2, nullptr, local.data(), loss.data()), status_code::null_pointer,
         "distribution");
  expect(balance::locality_loss(1, 0.1, 2, current.data(), nullptr, loss.data()), status_code::null_pointer,
         "is_local");
  expect(balance::locality_loss(1, 0.1, 2, current.data(), local.data(), nullptr), status_code::null_pointer, "loss");
}

}  // namespace

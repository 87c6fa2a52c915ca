// SPDX-License-Identifier: Apache-2.0
#include "resonance/prune/capacity.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "reference/facts.hpp"
#include "reference/prune.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

prune::batch_facts batch_of(std::int64_t tokens, std::int32_t experts, std::int32_t top_k, std::int64_t hidden = 0) {
  prune::batch_facts batch;
  batch.tokens = tokens;
  batch.experts = experts;
  batch.top_k = top_k;
  batch.hidden = hidden;
  return batch;
}

TEST(CapacityRules, SimpleRulesSayWhatTheyAreTold) {
  const prune::batch_facts batch = batch_of(100, 3, 2);
  const std::vector<std::int64_t> capacities = {5, 0, 7};
  EXPECT_EQ(prune::unlimited{}.capacity(batch, 1, 17), 17);
  EXPECT_EQ(prune::fixed{9}.capacity(batch, 1, 17), 9);
  EXPECT_EQ(prune::per_expert{capacities.data()}.capacity(batch, 2, 17), 7);
}

TEST(CapacityRules, FactorRoundsUpAndSaturates) {
  EXPECT_EQ(prune::factor{1.0}.capacity(batch_of(64, 8, 2), 0, 0), 16);
  EXPECT_EQ(prune::factor{1.0}.capacity(batch_of(65, 8, 2), 0, 0), 17);
  EXPECT_EQ(prune::factor{1.1}.capacity(batch_of(1024, 8, 1), 0, 0), 141);
  EXPECT_EQ(prune::factor{0.0}.capacity(batch_of(64, 8, 2), 0, 0), 0);
  EXPECT_EQ(prune::factor{1.25}.capacity(batch_of(0, 8, 2), 0, 0), 0);
  EXPECT_EQ(prune::factor{1e18}.capacity(batch_of(1 << 30, 1, 8), 0, 0), 9000000000000000000);
  support::random_source random(31);
  for (int round = 0; round < 2000; ++round) {
    const auto tokens = static_cast<std::int64_t>(random.below(5000));
    const auto experts = static_cast<std::int32_t>(random.between(1, 512));
    const auto top_k = static_cast<std::int32_t>(random.between(1, 22));
    const double factor = random.pick(std::vector<double>{0.1, 0.5, 1.0, 1.1, 1.25, 2.0, random.uniform()});
    EXPECT_EQ(static_cast<std::size_t>(prune::factor{factor}.capacity(batch_of(tokens, experts, top_k), 0, 0)),
              reference::factor_capacity(factor, static_cast<std::size_t>(tokens), static_cast<std::size_t>(top_k),
                                         static_cast<std::size_t>(experts)))
        << factor << " " << tokens << " " << experts << " " << top_k;
  }
}

// MoE++: C_full = gamma tau T / (tau N_full + N_other), C_other = gamma T / (tau N_full + N_other).
TEST(CapacityRules, HeterogeneousFactorIsThePapers) {
  const auto capacity = [](const prune::heterogeneous_factor& rule, std::int64_t tokens, std::int32_t expert) {
    return rule.capacity(batch_of(tokens, 12, 2), expert, 0);
  };
  const prune::heterogeneous_factor paper{1.1, 0.75, 8, false};
  EXPECT_EQ(capacity(paper, 4096, 0), 338);  // 337.92
  EXPECT_EQ(capacity(paper, 4096, 7), 338);
  EXPECT_EQ(capacity(paper, 4096, 8), 451);  // 450.56
  EXPECT_EQ(capacity(paper, 4096, 11), 451);
  EXPECT_EQ(capacity({1.1, 0.75, 8, true}, 4096, 7), 676);  // 675.84
  EXPECT_EQ(capacity({1.1, 0.75, 8, true}, 4096, 8), 902);  // 901.12
  EXPECT_EQ(capacity({1.0, 1.0, 8, false}, 12, 3), 1);      // exactly 1: not rounded up
  EXPECT_EQ(capacity({1.0, 1.0, 8, false}, 13, 3), 2);
  EXPECT_EQ(capacity(paper, 0, 8), 0);
  EXPECT_EQ(capacity({1e18, 1.0, 8, true}, std::int64_t{1} << 40, 0), 9000000000000000000);
}

TEST(CapacityRules, HeterogeneousFactorMatchesTheReferenceAndItsIdentities) {
  support::random_source random(33);
  for (int round = 0; round < 2000; ++round) {
    const auto tokens = static_cast<std::int64_t>(random.below(5000));
    const auto experts = static_cast<std::int32_t>(random.between(1, 512));
    const auto top_k = static_cast<std::int32_t>(random.between(1, 22));
    const auto full = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(experts) + 1));
    const prune::heterogeneous_factor rule{random.pick(std::vector<double>{0.5, 1.0, 1.1, random.uniform()}),
                                           random.pick(std::vector<double>{0.1, 0.25, 0.5, 0.75, 1.0}), full,
                                           random.coin()};
    SCOPED_TRACE(::testing::Message() << tokens << " " << experts << " " << top_k << " " << full << " " << rule.tau);
    reference::prune_options meaning;
    meaning.capacity_factor = rule.capacity_factor;
    meaning.tau = rule.tau;
    meaning.full_experts = static_cast<std::size_t>(full);
    meaning.counts_k = rule.counts_k;
    const prune::batch_facts batch = batch_of(tokens, experts, top_k);
    double sum = 0.0;
    for (std::int32_t e = 0; e < experts; ++e) {
      const double exact =
          reference::heterogeneous_capacity(meaning, static_cast<std::size_t>(tokens), static_cast<std::size_t>(top_k),
                                            static_cast<std::size_t>(experts), static_cast<std::size_t>(e));
      EXPECT_EQ(rule.capacity(batch, e, 0), static_cast<std::int64_t>(std::ceil(exact)));
      sum += exact;
    }
    // Before rounding they add up to gamma T, and each is raised by less than one.
    const double all = rule.capacity_factor * static_cast<double>(tokens) * (rule.counts_k ? top_k : 1);
    EXPECT_NEAR(sum, all, 1e-9 * all);
    std::int64_t rounded = 0;
    for (std::int32_t e = 0; e < experts; ++e) rounded += rule.capacity(batch, e, 0);
    EXPECT_GE(static_cast<double>(rounded), all * (1.0 - 1e-12));
    EXPECT_LT(static_cast<double>(rounded), all * (1.0 + 1e-12) + experts);
    // tau is the ratio of the two capacities.
    if (full > 0 && full < experts && tokens > 0) {
      const prune::batch_facts large = batch_of(std::int64_t{1} << 40, experts, top_k);
      EXPECT_NEAR(static_cast<double>(rule.capacity(large, 0, 0)) / rule.capacity(large, experts - 1, 0), rule.tau,
                  1e-5);
    }
    // tau = 1 with counts_k is the plain factor.
    const prune::heterogeneous_factor plain{rule.capacity_factor, 1.0, full, true};
    EXPECT_EQ(plain.capacity(batch, 0, 0), prune::factor{rule.capacity_factor}.capacity(batch, 0, 0));
  }
}

// The share of the work that full experts keep: MoE++'s complexity ratio.
TEST(CapacityRules, HeterogeneousFactorKeepsThePapersShareOfFullExperts) {
  using prune::heterogeneous_factor;
  EXPECT_NEAR(heterogeneous_factor::full_share(0.75, 8, 4), 0.6, 1e-15);
  EXPECT_NEAR(heterogeneous_factor::full_share(0.1, 8, 4), 0.167, 5e-4);
  EXPECT_NEAR(heterogeneous_factor::full_share(1.0, 8, 4), 0.667, 5e-4);
  EXPECT_NEAR(heterogeneous_factor::full_share(0.75, 16, 4), 0.75, 1e-15);
  EXPECT_NEAR(heterogeneous_factor::full_share(0.75, 32, 8), 0.75, 1e-15);
  // and that is what the capacities say.
  const heterogeneous_factor rule{1.1, 0.1, 8, false};
  const prune::batch_facts batch = batch_of(std::int64_t{1} << 40, 12, 2);
  const double full = 8.0 * static_cast<double>(rule.capacity(batch, 0, 0));
  const double others = 4.0 * static_cast<double>(rule.capacity(batch, 8, 0));
  EXPECT_NEAR(full / (full + others), heterogeneous_factor::full_share(0.1, 8, 4), 1e-9);
}

TEST(CapacityRules, LowerBoundMatchesRemark7) {
  EXPECT_NEAR(prune::lower_bound::minimum(0.03, 4096, 8), 0.79, 0.005);
  EXPECT_NEAR(prune::lower_bound::minimum(0.05, 4096, 8), 21.1, 0.05);
  EXPECT_NEAR(prune::lower_bound::minimum(0.08, 4096, 8), 6.4e4, 0.05e4);
  for (double m : {0.0, 0.01, 0.03, 0.08, 0.3, 0.5}) {
    const double expected = reference::capacity_lower_bound(m, 2880, 128);
    EXPECT_NEAR(prune::lower_bound::minimum(m, 2880, 128), expected, 1e-12 * expected) << m;
  }
  EXPECT_EQ(prune::lower_bound::minimum(std::sqrt(2.0) + 1e-9, 64, 8), infinity);
  EXPECT_EQ(prune::lower_bound::minimum(1.4, 1 << 20, 8), infinity);
}

TEST(CapacityRules, LowerBoundIsClamped) {
  const auto capacity = [](double delta, std::int64_t floor, std::int64_t tokens, double factor = 1.1) {
    return prune::lower_bound{true, delta, floor, factor}.capacity(batch_of(tokens, 8, 2, 4096), 0, 0);
  };
  EXPECT_EQ(capacity(0.05, 1, 1000), 22);
  EXPECT_EQ(capacity(0.0, 1, 1000), 1);        // C_min = 1/8
  EXPECT_EQ(capacity(-0.5, 1, 1000), 1);       // m = max(0, delta)
  EXPECT_EQ(capacity(0.05, 30, 1000), 30);     // the floor
  EXPECT_EQ(capacity(0.5, 1, 1000), 275);      // ceil(1.1 * 1000 * 2 / 8)
  EXPECT_EQ(capacity(2.0, 1, 1000), 275);      // m^2 >= 2
  EXPECT_EQ(capacity(0.5, 1, 1000, 9), 1000);  // T
  EXPECT_EQ(capacity(0.05, 900, 1000), 275);   // the upper end wins over the floor
  EXPECT_EQ(capacity(0.05, 1, 0), 0);
}

TEST(CapacityRules, LowerBoundReadsTheBatchUnlessDeltaIsGiven) {
  prune::batch_facts batch = batch_of(1000, 8, 2, 4096);
  batch.delta_max = 0.05F;
  EXPECT_EQ(prune::lower_bound{}.capacity(batch, 0, 0), 22);
  EXPECT_EQ((prune::lower_bound{true, 0.03}.capacity(batch, 0, 0)), 1);
  batch.delta_max = -std::numeric_limits<float>::infinity();  // nothing is assigned
  EXPECT_EQ(prune::lower_bound{}.capacity(batch, 0, 0), 1);
}

TEST(CapacityRules, MassUnitsAreScaledAndRounded) {
  EXPECT_EQ(prune::mass_scale(1.0F), 0x1p30);
  EXPECT_EQ(prune::mass_scale(1.5F), 0x1p29);
  EXPECT_EQ(prune::mass_scale(0x1p-149F), 0x1p179);
  EXPECT_EQ(prune::mass_scale(std::numeric_limits<float>::max()), 0x1p-98);
  for (float nothing : {0.0F, -0.0F, -1.0F, std::numeric_limits<float>::quiet_NaN()})
    EXPECT_EQ(prune::mass_scale(nothing), 0.0) << nothing;
  EXPECT_EQ(prune::mass_units(1.0F, 0x1p30), 1 << 30);
  EXPECT_EQ(prune::mass_units(0x1p-31F, 0x1p30), 0);  // one half to even
  EXPECT_EQ(prune::mass_units(0x3p-31F, 0x1p30), 2);  // three halves to even
  EXPECT_EQ(prune::mass_units(0x5p-31F, 0x1p30), 2);  // five halves to even
  EXPECT_EQ(prune::mass_units(-1.0F, 0x1p30), 0);
  EXPECT_EQ(prune::mass_units(std::numeric_limits<float>::quiet_NaN(), 0x1p30), 0);
  support::random_source random(32);
  for (int round = 0; round < 20000; ++round) {
    const float largest = std::fabs(support::adversarial_value(random, support::adversary::denormals));
    const float smaller = largest * static_cast<float>(random.uniform());
    if (largest == 0.0F) continue;
    int exponent = 0;
    if (std::frexp(static_cast<double>(largest), &exponent) == 0.5) --exponent;
    EXPECT_EQ(prune::mass_units(smaller, prune::mass_scale(largest)),
              std::llrint(std::ldexp(static_cast<double>(smaller), 30 - exponent)))
        << largest << " " << smaller;
  }
}

TEST(CapacityRules, MassThresholdIsTheLeastCountThatReachesTheShare) {
  EXPECT_EQ((prune::affinity_mass{0.5}.threshold(10)), 5);
  EXPECT_EQ((prune::affinity_mass{0.5}.threshold(11)), 6);
  EXPECT_EQ((prune::affinity_mass{1.0}.threshold(std::int64_t{1} << 61)), std::int64_t{1} << 61);
  EXPECT_EQ((prune::affinity_mass{1e-300}.threshold(5)), 1);
}

template <class Rule>
void expect_refused(const Rule& rule, const prune::batch_facts& batch, const std::string& argument,
                    status_code code = status_code::out_of_range) {
  EXPECT_TRUE(support::refused(rule.check(batch), code, argument));
}

TEST(CapacityRules, RefuseParametersOutsideTheirDomain) {
  const prune::batch_facts batch = batch_of(10, 3, 1, 64);
  expect_refused(prune::fixed{-1}, batch, "fixed");
  for (double factor : {-1e-9, nan, infinity, 1.1e18}) {
    expect_refused(prune::factor{factor}, batch, "capacity_factor");
    expect_refused(prune::lower_bound{false, 0.0, 1, factor}, batch, "capacity_factor");
    expect_refused(prune::heterogeneous_factor{factor, 0.75, 2, false}, batch, "capacity_factor");
  }
  for (double tau : {0.0, -0.75, nan, infinity, 1.1e18})
    expect_refused(prune::heterogeneous_factor{1.1, tau, 2, false}, batch, "tau");
  for (std::int32_t full : {-1, 4}) expect_refused(prune::heterogeneous_factor{1.1, 0.75, full}, batch, "full_experts");
  for (double delta : {nan, infinity, -infinity}) expect_refused(prune::lower_bound{true, delta}, batch, "delta");
  expect_refused(prune::lower_bound{false, 0.0, -1}, batch, "floor");
  expect_refused(prune::lower_bound{}, batch_of(10, 3, 1, 0), "hidden");
  for (double rho : {0.0, -0.5, 1.0 + 1e-9, nan, infinity}) expect_refused(prune::affinity_mass{rho}, batch, "rho");
  expect_refused(prune::per_expert{}, batch, "capacities", status_code::null_pointer);
  const std::vector<std::int64_t> negative = {1, 2, -1};
  expect_refused(prune::per_expert{negative.data()}, batch, "capacities");
}

TEST(CapacityRules, AcceptTheEndsOfTheirDomain) {
  const prune::batch_facts batch = batch_of(10, 3, 1, 1);
  const std::vector<std::int64_t> zeros = {0, 0, 0};
  EXPECT_TRUE(support::accepted(prune::unlimited{}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::fixed{0}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::factor{0.0}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::heterogeneous_factor{0.0, 1e-300, 0, false}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::heterogeneous_factor{1.1, 1.0, 3, true}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::lower_bound{true, -3.0, 0, 0.0}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::per_expert{zeros.data()}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::affinity_mass{1.0}.check(batch)));
  EXPECT_TRUE(support::accepted(prune::affinity_mass{1e-300}.check(batch)));
}

}  // namespace

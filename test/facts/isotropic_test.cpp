// SPDX-License-Identifier: Apache-2.0
// Isotropic tokens under GrAP: what affinity_mass keeps of them, and that they load every expert equally.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <resonance/resonance.hpp>

#include "properties/routed.hpp"
#include "support/random.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RESONANCE_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RESONANCE_TEST_SANITIZED 1
#endif
#endif

namespace {

namespace affinity = resonance::affinity;
namespace prune = resonance::prune;

//! GrAP of isotropic tokens [tokens, experts]; the rows themselves live only a block at a time.
std::vector<float> isotropic_affinities(support::random_source& random, std::size_t tokens, std::size_t hidden,
                                        std::size_t experts, double mean_of_first_column = 0) {
  const resonance::serial_executor serial;
  const affinity::grouped_average_cosine metric;
  const std::size_t block = 256;
  std::vector<float> delta(tokens * experts);
  for (std::size_t first = 0; first < tokens; first += block) {
    const std::size_t count = std::min(block, tokens - first);
    std::vector<float> rows = support::isotropic_tokens(random, count, hidden);
    for (std::size_t t = 0; t < count; ++t) rows[t * hidden] += static_cast<float>(mean_of_first_column);
    affinity::hidden_input<float> input;
    input.hidden = {rows.data(), static_cast<std::int64_t>(count), static_cast<std::int64_t>(hidden)};
    input.experts = static_cast<std::int32_t>(experts);
    std::vector<char> workspace(affinity::host_affinity_workspace_bytes(serial, metric, input));
    const resonance::matrix_view<float> out(delta.data() + first * experts, static_cast<std::int64_t>(count),
                                            static_cast<std::int64_t>(experts));
    EXPECT_TRUE(affinity::host_affinity(serial, metric, input, out, {workspace.data(), workspace.size()}).ok());
  }
  return delta;
}

template <class Capacity>
properties::routed route_best(const std::vector<float>& delta, std::size_t experts, const Capacity& capacity) {
  resonance::route::options<affinity::logits, resonance::token_choice::top_k, resonance::merge::restricted, Capacity,
                            affinity::softmax, prune::affinity_order>
      options;
  options.capacity = capacity;
  affinity::logits_input<float> input;
  input.logits = {delta.data(), static_cast<std::int64_t>(delta.size() / experts), static_cast<std::int64_t>(experts)};
  return properties::route_all(support::serial(), input, options);
}

TEST(Isotropic, AffinityMassKeepsTheKnownShares) {
  // 134 million normal numbers take a sanitizer minutes, so there are fewer tokens under one. A share then has a
  // standard error of sqrt(.25 / 2048) = .011, and finite A_i bias it a little.
#if defined(RESONANCE_TEST_SANITIZED)
  const std::size_t tokens = 2048;
  const double tolerance = 0.04;
#else
  const std::size_t tokens = 32768;
  const double tolerance = 0.01;
#endif
  support::random_source random(20240601);
  const std::vector<float> delta = isotropic_affinities(random, tokens, 4096, 8);
  struct row {
    double rho;
    double kept;
  };
  const row known[] = {{.50, .341}, {.60, .432}, {.70, .533}, {.75, .587},
                       {.76, .600}, {.80, .646}, {.90, .781}, {.95, .863}};
  for (const row& expected : known) {
    prune::affinity_mass rule;
    rule.rho = expected.rho;
    const properties::routed r = route_best(delta, 8, rule);
    const auto kept = static_cast<double>(std::accumulate(r.kept.begin(), r.kept.end(), std::int64_t{0}));
    EXPECT_NEAR(kept / static_cast<double>(tokens), expected.kept, tolerance) << "rho " << expected.rho;
  }
}

//! The value that a chi-square of `freedom` degrees exceeds with a chance of 3e-5 (Wilson and Hilferty: its cube root
//! is nearly normal; this is 4 standard deviations).
double largest_chi_square(double freedom) {
  const double variance = 2 / (9 * freedom);
  const double root = 1 - variance + 4 * std::sqrt(variance);
  return freedom * root * root * root;
}

double chi_square_of_loads(const std::vector<float>& delta, std::size_t experts) {
  const properties::routed r = route_best(delta, experts, prune::unlimited{});
  const double mean = static_cast<double>(r.tokens) / static_cast<double>(experts);
  double sum = 0;
  for (const std::int32_t load : r.tokens_per_expert) sum += (load - mean) * (load - mean) / mean;
  return sum;
}

TEST(Isotropic, EveryExpertHasTheSameLoad) {
  support::random_source random(2401);
  struct shape {
    std::size_t tokens, hidden, experts;
  };
  // 2880/128 and 100/7 cut slices of unequal lengths: GrAP's norm makes up for that.
  for (const shape& s : {shape{20000, 256, 8}, shape{4000, 2880, 128}, shape{20000, 100, 7}, shape{8000, 72, 72}}) {
    const std::vector<float> delta = isotropic_affinities(random, s.tokens, s.hidden, s.experts);
    EXPECT_LT(chi_square_of_loads(delta, s.experts), largest_chi_square(static_cast<double>(s.experts) - 1))
        << "H=" << s.hidden << " E=" << s.experts;
  }
}

TEST(Isotropic, ChiSquareSeesASlightTilt) {
  support::random_source random(2402);
  const std::vector<float> delta = isotropic_affinities(random, 20000, 256, 8, 1.0);
  EXPECT_GT(chi_square_of_loads(delta, 8), largest_chi_square(7));
}

}  // namespace

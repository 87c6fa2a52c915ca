// SPDX-License-Identifier: Apache-2.0
#include "resonance/balance/host_delta_quantile.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "balance/quantile_reference.hpp"
#include "resonance/balance/moving_average.hpp"
#include "resonance/prune/host_prune.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

float run(matrix_view<const float> affinity, double q, const support::any_executor& executor = support::serial()) {
  guarded_buffer<float> quantile(1);
  exact_workspace workspace(balance::host_delta_quantile_workspace_bytes(affinity.rows, affinity.cols));
  EXPECT_TRUE(
      support::accepted(balance::host_delta_quantile(executor, affinity, q, quantile.data(), workspace.view())));
  EXPECT_TRUE(quantile.intact() && workspace.intact());
  return quantile[0];
}

TEST(HostDeltaQuantile, AgreesWithTheReferenceOnEveryExecutor) {
  support::random_source random(1);
  for (const std::int64_t tokens : {0, 1, 2, 7, 257, 70000}) {
    for (const std::int64_t top_k : {1, 2, 5}) {
      if (tokens > 1000 && top_k > 2) continue;
      for (const support::adversary kind : support::all_adversaries()) {
        const auto values = support::adversarial_values(random, static_cast<std::size_t>(tokens * (top_k + 1)), kind);
        std::vector<float> seen;
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t k = 0; k < top_k; ++k)
            seen.push_back(values[static_cast<std::size_t>(t * (top_k + 1) + k)]);
        const matrix_view<const float> affinity(values.data(), tokens, top_k, top_k + 1);
        for (const double q : {0.0, 0.01, 0.5, 0.99, 1.0, random.uniform()}) {
          SCOPED_TRACE(::testing::Message() << tokens << " " << top_k << " " << support::name_of(kind) << " q=" << q);
          const double expected = quantile_reference::quantile(seen, q);
          if (tokens < 1000) {
            EXPECT_EQ(run(affinity, q), expected);
            continue;
          }
          support::with_every_executor(
              [&](const auto& executor, const char* name) { EXPECT_EQ(run(affinity, q, executor), expected) << name; });
        }
      }
    }
  }
}

TEST(HostDeltaQuantile, TakesTheNearestRank) {
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {40, nan, 10, 30, -infinity, 20};
  const matrix_view<const float> affinity(values.data(), 6, 1);
  EXPECT_EQ(run(affinity, 0.0), 10.0F);
  EXPECT_EQ(run(affinity, 0.25), 10.0F);
  EXPECT_EQ(run(affinity, 0.2501), 20.0F);
  EXPECT_EQ(run(affinity, 0.5), 20.0F);  // of an even count, the lower middle
  EXPECT_EQ(run(affinity, 0.75), 30.0F);
  EXPECT_EQ(run(affinity, 1.0), 40.0F);
  const std::vector<float> none = {nan, -infinity};
  EXPECT_EQ(run({none.data(), 2, 1}, 0.5), -infinity);
  const std::vector<float> odd = {infinity, -0.0F};
  EXPECT_EQ(run({odd.data(), 2, 1}, 1.0), std::numeric_limits<float>::max());
  EXPECT_FALSE(std::signbit(run({odd.data(), 2, 1}, 0.0)));
}

// Reading D3 of ETR's bound: one outlier moves the batch's largest affinity, but not its quantile, smoothed or not.
TEST(HostDeltaQuantile, IsADeltaMaxThatAnOutlierDoesNotMove) {
  constexpr std::int64_t tokens = 4096;
  support::random_source random(2);
  support::random_choices c(random, {tokens, 8, 1}, {support::adversary::constant, 0.0, false});
  for (std::size_t slot = 0; slot < c.slots(); ++slot) c.affinity[slot] = 0.05F * static_cast<float>(random.uniform());
  c.affinity[99] = 0.5F;
  const std::vector<std::int32_t> ranks(c.slots(), 0);
  assignment_view a = c.view();
  a.rank_in_expert = ranks.data();
  const matrix_view<const float> affinity(c.affinity.data(), tokens, 1);
  balance::moving_average smoothed{0.5F};
  smoothed.add(run(affinity, 0.999));
  const auto capacity_under = [&](const float* delta_max) {
    prune::options o;
    o.hidden = 4096;
    o.delta_max = delta_max;
    std::vector<std::int32_t> ids(c.slots());
    std::vector<std::int64_t> capacities(8);
    prune::outputs out;
    out.ids = ids.data();
    out.capacities = capacities.data();
    exact_workspace workspace(prune::host_prune_workspace_bytes(support::serial(), a));
    EXPECT_TRUE(support::accepted(prune::host_prune(support::serial(), prune::lower_bound{}, prune::affinity_order{}, a,
                                                    o, out, workspace.view())));
    return capacities[0];
  };
  EXPECT_EQ(capacity_under(nullptr), 564);  // ceil(1.1 * 4096 / 8): the bound of 0.5 is clamped
  const double m = static_cast<double>(smoothed.value);
  ASSERT_NEAR(m, 0.05, 0.001);
  EXPECT_EQ(capacity_under(&smoothed.value), std::ceil(std::exp(4096 * m * m / (2 - m * m)) / 8));  // some 21
}

TEST(HostDeltaQuantileErrors, NameTheArgumentAndWriteNothing) {
  const std::vector<float> values(12, 1.0F);
  guarded_buffer<float> quantile(1);
  exact_workspace workspace(balance::host_delta_quantile_workspace_bytes(4, 3));
  const auto expect = [&](matrix_view<const float> affinity, double q, float* out, std::size_t bytes, status_code code,
                          const std::string& argument) {
    EXPECT_TRUE(support::refused(
        balance::host_delta_quantile(support::serial(), affinity, q, out, {workspace.view().data, bytes}), code,
        argument));
    EXPECT_TRUE(quantile.untouched() && workspace.untouched()) << argument;
  };
  const matrix_view<const float> good(values.data(), 4, 3);
  const std::size_t bytes = workspace.view().bytes;
  expect({nullptr, 4, 3}, 0.5, quantile.data(), bytes, status_code::null_pointer, "affinity");
  expect({values.data(), -1, 3}, 0.5, quantile.data(), bytes, status_code::out_of_range, "affinity");
  expect({values.data(), 4, 3, 2}, 0.5, quantile.data(), bytes, status_code::out_of_range, "affinity");
  expect({values.data(), std::int64_t{1} << 31, std::int64_t{1} << 30}, 0.5, quantile.data(), bytes,
         status_code::index_overflow, "affinity");
  for (const double q : {-0.01, 1.01, std::nan("")})
    expect(good, q, quantile.data(), bytes, status_code::out_of_range, "q");
  expect(good, 0.5, nullptr, bytes, status_code::null_pointer, "quantile");
  expect(good, 0.5, quantile.data(), bytes - 1, status_code::workspace_too_small, "workspace");
}

}  // namespace

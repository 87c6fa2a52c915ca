// SPDX-License-Identifier: Apache-2.0
// Balanced assignment against Sinkhorn's iteration on the matrix itself, in double.
#include "resonance/balance/host_sinkhorn.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "balance/fixture.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using permute_test::stored_rows;

template <class Executor, class Row>
std::vector<float> bias_by(const Executor& executor, const matrix_view<const Row>& logits,
                           const balance::sinkhorn_options& o, std::vector<float> start = {}) {
  start.resize(static_cast<std::size_t>(logits.cols), 77.0F);
  support::exact_workspace workspace(balance::host_sinkhorn_workspace_bytes(executor, logits.rows, logits.cols));
  EXPECT_TRUE(support::accepted(balance::host_sinkhorn(executor, logits, o, start.data(), workspace.view())));
  EXPECT_TRUE(workspace.intact());
  return start;
}

//! ln of the column factors after some iterations on exp(logits): rows to 1/T, then columns to 1/E.
std::vector<double> factors_of(const reference::matrix& logits, int iterations) {
  std::vector<double> column(logits.cols, 1.0);
  for (int i = 0; i < iterations; ++i) {
    std::vector<double> sums(logits.cols, 0.0);
    for (std::size_t t = 0; t < logits.rows; ++t) {
      double row = 0.0;
      for (std::size_t e = 0; e < logits.cols; ++e) row += column[e] * std::exp(logits.row(t)[e]);
      for (std::size_t e = 0; e < logits.cols; ++e)
        sums[e] += std::exp(logits.row(t)[e]) / (row * static_cast<double>(logits.rows));
    }
    for (std::size_t e = 0; e < logits.cols; ++e) column[e] = 1.0 / (static_cast<double>(logits.cols) * sums[e]);
  }
  for (double& factor : column) factor = std::log(factor);
  return column;
}

template <class Row>
class HostSinkhorn : public ::testing::Test {};
TYPED_TEST_SUITE(HostSinkhorn, permute_test::row_types, );

TYPED_TEST(HostSinkhorn, IsTheIterationOnTheMatrix) {
  support::random_source random(41);
  for (const support::batch_shape& s : {support::batch_shape{1, 1, 1}, {5, 3, 1}, {300, 16, 1}, {1000, 65, 1}}) {
    SCOPED_TRACE(::testing::Message() << s);
    stored_rows<TypeParam> logits(s.tokens, s.experts, 1, 1);
    logits.fill_normal(random);
    for (const int iterations : {1, 3, 8}) {
      balance::sinkhorn_options o;
      o.iterations = iterations;
      const std::vector<float> bias = bias_by(serial_executor{}, logits.read(), o);
      const std::vector<double> expected = factors_of(logits.widened(), iterations);
      for (std::size_t e = 0; e < bias.size(); ++e) EXPECT_NEAR(bias[e], expected[e], 2e-5) << "expert " << e;
    }
  }
}

TYPED_TEST(HostSinkhorn, IsTheSameOnEveryExecutor) {
  support::random_source random(42);
  stored_rows<TypeParam> logits(1500, 37, 0, 0);
  logits.fill_normal(random);
  const std::vector<float> serial = bias_by(serial_executor{}, logits.read(), {});
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    EXPECT_EQ(bias_by(executor, logits.read(), {}), serial) << name;
  });
}

TEST(HostSinkhornBalance, EvensOutLoadsThatAreFarFromEven) {
  support::random_source random(43);
  stored_rows<float> logits(2048, 8, 0, 0);
  logits.fill_normal(random);
  for (std::int64_t t = 0; t < 2048; ++t) logits.at(t, 0) += 4.0F;
  balance::sinkhorn_options o;
  o.iterations = 30;
  const std::vector<float> bias = bias_by(serial_executor{}, logits.read(), o);
  std::vector<int> before(8, 0), after(8, 0);
  for (std::int64_t t = 0; t < 2048; ++t) {
    const float* row = logits.read().row(t);
    std::vector<float> biased(row, row + 8);
    for (std::size_t e = 0; e < 8; ++e) biased[e] += bias[e];
    ++before[static_cast<std::size_t>(std::max_element(row, row + 8) - row)];
    ++after[static_cast<std::size_t>(std::max_element(biased.begin(), biased.end()) - biased.begin())];
  }
  EXPECT_GT(before[0], 1900);
  for (const int load : after) EXPECT_NEAR(load, 256, 60);
}

TEST(HostSinkhornBalance, WarmStartGoesOnWhereTheLastCallEnded) {
  support::random_source random(44);
  stored_rows<float> logits(200, 9, 0, 0);
  logits.fill_normal(random);
  balance::sinkhorn_options o;
  o.iterations = 5;
  const std::vector<float> five = bias_by(serial_executor{}, logits.read(), o);
  o.iterations = 3;
  const std::vector<float> three = bias_by(serial_executor{}, logits.read(), o);
  o.iterations = 2;
  o.warm_start = true;
  EXPECT_EQ(bias_by(serial_executor{}, logits.read(), o, three), five);
}

TEST(HostSinkhornBalance, LeavesOutWhatCannotBeChosen) {
  constexpr float absent = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {0.5F, absent, std::nanf(""), 0.25F, absent, 1.0F};  // [2,3]: no token can take 1
  const std::vector<float> bias = bias_by(serial_executor{}, matrix_view<const float>{logits.data(), 2, 3}, {});
  EXPECT_EQ(bias[1], 0.0F);
  for (const float value : bias) EXPECT_TRUE(std::isfinite(value));
  EXPECT_EQ(bias_by(serial_executor{}, matrix_view<const float>{logits.data(), 0, 3}, {}),
            (std::vector<float>(3, 0.0F)));
}

TEST(HostSinkhornBalance, RefusesByNameAndWritesNothing) {
  const std::vector<float> logits(6, 0.0F);
  const matrix_view<const float> good{logits.data(), 2, 3};
  support::guarded_buffer<float> bias(3);
  support::exact_workspace workspace(balance::host_sinkhorn_workspace_bytes(serial_executor{}, 2, 3));
  const auto refused = [&](const matrix_view<const float>& in, int iterations, float* out, workspace_view w) {
    balance::sinkhorn_options o;
    o.iterations = iterations;
    return std::string(balance::host_sinkhorn(serial_executor{}, in, o, out, w).argument);
  };
  EXPECT_EQ(refused({nullptr, 2, 3}, 1, bias.data(), workspace.view()), "logits");
  EXPECT_EQ(refused({logits.data(), 2, 0}, 1, bias.data(), workspace.view()), "logits");
  EXPECT_EQ(refused(good, 0, bias.data(), workspace.view()), "iterations");
  EXPECT_EQ(refused(good, 1, nullptr, workspace.view()), "correction_bias");
  EXPECT_EQ(refused(good, 1, bias.data(), {workspace.view().data, workspace.view().bytes - 1}), "workspace");
  EXPECT_TRUE(bias.untouched());
}

}  // namespace

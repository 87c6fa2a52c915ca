// SPDX-License-Identifier: Apache-2.0
#include "resonance/balance/host_balance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "balance/fixture.hpp"
#include "permute/fixture.hpp"
#include "reference/balance.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using balance_test::statistics;
using permute_test::stored_rows;
using support::exact_workspace;
using support::guarded_buffer;

template <class Row>
statistics statistics_everywhere(const stored_rows<Row>& logits) {
  const auto run = [&](const auto& executor) {
    statistics out(logits.cols);
    exact_workspace workspace(balance::host_router_statistics_workspace_bytes(executor, logits.rows, logits.cols));
    EXPECT_TRUE(support::accepted(balance::host_router_statistics(executor, logits.read(), out.mean_probability.data(),
                                                                  out.z_loss.data(), workspace.view())));
    EXPECT_TRUE(out.intact() && workspace.intact());
    return out;
  };
  statistics first = run(serial_executor{});
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    const statistics again = run(executor);
    EXPECT_TRUE(again.bits() == first.bits()) << name;
  });
  return first;
}

template <class Row>
double separation_everywhere(const stored_rows<Row>& x, const assignment_view& a) {
  guarded_buffer<double> first(1);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    guarded_buffer<double> ratio(1);
    exact_workspace workspace(balance::host_calinski_harabasz_workspace_bytes(x.cols, a.experts));
    EXPECT_TRUE(
        support::accepted(balance::host_calinski_harabasz(executor, x.read(), a, ratio.data(), workspace.view())));
    EXPECT_TRUE(ratio.intact() && workspace.intact());
    if (first.untouched()) first[0] = ratio[0];
    EXPECT_EQ(ratio[0], first[0]) << name;
  });
  return first[0];
}

template <class Row>
class HostBalance : public ::testing::Test {};
TYPED_TEST_SUITE(HostBalance, permute_test::row_types, );

TYPED_TEST(HostBalance, RouterStatisticsAgreeWithTheReference) {
  support::random_source random(111);
  for (const support::batch_shape& s : support::batch_shapes(5000)) {
    if (s.top_k != 1 && s.tokens < 4000) continue;
    for (support::adversary kind : {support::adversary::nans, support::adversary::ties, support::adversary::mixed})
      balance_test::expect_reference_statistics<TypeParam>(
          random, s, kind, [](const auto& logits) { return statistics_everywhere(logits); });
  }
}

TYPED_TEST(HostBalance, UniformLogitsHaveKnownStatistics) {
  stored_rows<TypeParam> logits(513, 16);
  for (std::int64_t t = 0; t < 513; ++t)
    for (std::int64_t e = 0; e < 16; ++e) permute_test::encode(-1.5F, logits.at(t, e));
  const statistics got = statistics_everywhere(logits);
  for (double probability : got.mean_probability) EXPECT_EQ(probability, 0.0625);
  const double log_sum = std::log(16.0) - 1.5;
  EXPECT_NEAR(got.z_loss[0], log_sum * log_sum, 1e-6);
}

TYPED_TEST(HostBalance, TokensWithoutALogitAddNothing) {
  stored_rows<TypeParam> logits(2, 4);
  for (std::int64_t e = 0; e < 4; ++e) {
    permute_test::encode(std::numeric_limits<float>::quiet_NaN(), logits.at(0, e));
    permute_test::encode(e == 2 ? 3.0F : -std::numeric_limits<float>::infinity(), logits.at(1, e));
  }
  const statistics got = statistics_everywhere(logits);
  EXPECT_EQ(support::values_of(got.mean_probability), (std::vector<double>{0, 0, 0.5, 0}));
  EXPECT_EQ(got.z_loss[0], 4.5);
}

TYPED_TEST(HostBalance, EachStatisticMayBeLeftOut) {
  support::random_source random(112);
  stored_rows<TypeParam> logits(300, 7);
  logits.fill_normal(random);
  const statistics both = statistics_everywhere(logits);
  exact_workspace workspace(balance::host_router_statistics_workspace_bytes(serial_executor{}, 300, 7));
  statistics only(7);
  ASSERT_TRUE(balance::host_router_statistics(serial_executor{}, logits.read(), only.mean_probability.data(), nullptr,
                                              workspace.view())
                  .ok());
  EXPECT_EQ(support::bits_of(only.mean_probability), support::bits_of(both.mean_probability));
  EXPECT_TRUE(only.z_loss.untouched());
  only.mean_probability.repoison();
  ASSERT_TRUE(
      balance::host_router_statistics(serial_executor{}, logits.read(), nullptr, only.z_loss.data(), workspace.view())
          .ok());
  EXPECT_EQ(support::bits_of(only.z_loss), support::bits_of(both.z_loss));
  EXPECT_TRUE(only.mean_probability.untouched());
}

TYPED_TEST(HostBalance, SeparationAgreesWithTheReference) {
  support::random_source random(113);
  for (const support::batch_shape& s :
       {support::batch_shape{0, 6, 2}, {1, 1, 1}, {7, 13, 8}, {33, 6, 2}, {257, 72, 22}, {4099, 13, 2}})
    balance_test::expect_reference_separation<TypeParam>(
        random, s, [](const auto& x, const assignment_view& a) { return separation_everywhere(x, a); });
}

TYPED_TEST(HostBalance, SeparationHasItsLimits) {
  const std::vector<std::int32_t> ids = {0, 0, 1, 1};
  assignment_view a;
  a.tokens = 4;
  a.experts = 2;
  a.slots_per_token = 1;
  a.ids = ids.data();
  stored_rows<TypeParam> x(4, 3);
  const auto fill = [&](const std::vector<float>& of_token) {
    for (std::int64_t t = 0; t < 4; ++t)
      for (std::int64_t j = 0; j < 3; ++j) permute_test::encode(of_token[static_cast<std::size_t>(t)], x.at(t, j));
  };
  fill({1, 1, 1, 1});
  EXPECT_EQ(separation_everywhere(x, a), 0.0);
  fill({1, 1, 3, 3});
  EXPECT_EQ(separation_everywhere(x, a), std::numeric_limits<double>::infinity());
  fill({0, 2, 4, 6});  // centres 1 and 5 around 3; every row 1 off its centre
  EXPECT_EQ(separation_everywhere(x, a), 4.0);
}

TYPED_TEST(HostBalance, RefusesBadLogits) {
  support::random_source random(114);
  stored_rows<TypeParam> stored(33, 6);
  stored.fill_normal(random);
  statistics out(6);
  matrix_view<const TypeParam> logits = stored.read();
  const std::size_t bytes = balance::host_router_statistics_workspace_bytes(serial_executor{}, 33, 6);
  const auto expect = [&](status_code code, const std::string& argument, std::size_t given) {
    exact_workspace workspace(given);
    EXPECT_TRUE(support::refused(balance::host_router_statistics(serial_executor{}, logits, out.mean_probability.data(),
                                                                 out.z_loss.data(), workspace.view()),
                                 code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched());
    logits = stored.read();
  };
  logits.data = nullptr;
  expect(status_code::null_pointer, "logits", bytes);
  logits.cols = 0;
  expect(status_code::out_of_range, "logits", bytes);
  logits.rows = -1;
  expect(status_code::out_of_range, "logits", bytes);
  logits.stride = 5;
  expect(status_code::out_of_range, "logits", bytes);
  expect(status_code::workspace_too_small, "workspace", bytes - 1);
}

TYPED_TEST(HostBalance, RefusesBadSeparationArguments) {
  support::random_source random(115);
  const support::random_choices c(random, {33, 6, 2});
  stored_rows<TypeParam> stored(33, 5);
  stored.fill_normal(random);
  guarded_buffer<double> out(1);
  double* ratio = out.data();
  matrix_view<const TypeParam> x = stored.read();
  assignment_view a = c.view();
  const std::size_t bytes = balance::host_calinski_harabasz_workspace_bytes(5, 6);
  const auto expect = [&](status_code code, const std::string& argument, std::size_t given) {
    exact_workspace workspace(given);
    EXPECT_TRUE(support::refused(balance::host_calinski_harabasz(serial_executor{}, x, a, ratio, workspace.view()),
                                 code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched());
    x = stored.read();
    a = c.view();
    ratio = out.data();
  };
  x.data = nullptr;
  expect(status_code::null_pointer, "x", bytes);
  x.rows = 32;
  expect(status_code::shape_mismatch, "x", bytes);
  a.ids = nullptr;
  expect(status_code::null_pointer, "assignments.ids", bytes);
  a.experts = 0;
  expect(status_code::out_of_range, "assignments.experts", bytes);
  ratio = nullptr;
  expect(status_code::null_pointer, "ratio", bytes);
  expect(status_code::workspace_too_small, "workspace", bytes - 1);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// Batch statistics on the device: the same bits as the host's, and the reference's values.
#include "resonance/balance/device_balance.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <vector>

#include "balance/fixture.hpp"
#include "permute/fixture.hpp"
#include "resonance/balance/host_balance.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using balance_test::statistics;
using permute_test::stored_rows;
using support::exact_workspace;
using support::guarded_buffer;

template <class Row>
std::string statistics_by_host(const matrix_view<const Row>& logits) {
  statistics out(logits.cols);
  exact_workspace workspace(
      balance::host_router_statistics_workspace_bytes(serial_executor{}, logits.rows, logits.cols));
  EXPECT_TRUE(support::accepted(balance::host_router_statistics(serial_executor{}, logits, out.mean_probability.data(),
                                                                out.z_loss.data(), workspace.view())));
  return out.bits();
}

template <class Row>
statistics device_statistics(const matrix_view<const Row>& logits, const std::int64_t* num_tokens = nullptr) {
  statistics out(logits.cols);
  exact_workspace workspace(balance::device_router_statistics_workspace_bytes(logits.rows, logits.cols));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(
      balance::device_router_statistics(on, logits, out.mean_probability.data(), out.z_loss.data(), workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return out;
}

template <class Row>
std::string statistics_by_device(const matrix_view<const Row>& logits, const std::int64_t* num_tokens = nullptr) {
  return device_statistics(logits, num_tokens).bits();
}

template <class Row>
double separation_by_host(const matrix_view<const Row>& x, const assignment_view& a) {
  double ratio = -1;
  exact_workspace workspace(balance::host_calinski_harabasz_workspace_bytes(x.cols, a.experts));
  EXPECT_TRUE(support::accepted(balance::host_calinski_harabasz(serial_executor{}, x, a, &ratio, workspace.view())));
  return ratio;
}

template <class Row>
double separation_by_device(const matrix_view<const Row>& x, const assignment_view& a,
                            const std::int64_t* num_tokens = nullptr) {
  guarded_buffer<double> ratio(1);
  exact_workspace workspace(balance::device_calinski_harabasz_workspace_bytes(x.cols, a.experts));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(balance::device_calinski_harabasz(on, x, a, ratio.data(), workspace.view())));
  EXPECT_TRUE(ratio.intact() && workspace.intact());
  return ratio[0];
}

template <class Row>
class DeviceBalance : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceBalance, permute_test::row_types, );

// Rows that fit shared memory 256 at a time, a few at a time, and (from E = 2900) not at all; aligned and not.
TYPED_TEST(DeviceBalance, RouterStatisticsAreTheHosts) {
  support::random_source random(1);
  const std::vector<support::batch_shape> shapes = {{0, 6, 1},    {1, 1, 1},   {31, 7, 1},   {257, 13, 1},
                                                    {513, 64, 1}, {33, 72, 1}, {40, 257, 1}, {32, 576, 1},
                                                    {9, 1024, 1}, {5, 4096, 1}};
  for (const support::batch_shape& s : shapes) {
    for (const support::adversary kind : {support::adversary::nans, support::adversary::mixed}) {
      SCOPED_TRACE(::testing::Message() << s << " " << support::name_of(kind));
      const bool aligned = random.coin();
      stored_rows<TypeParam> logits(s.tokens, s.experts, aligned ? (64 - s.experts % 64) % 64 : 1, aligned ? 0 : 1);
      for (std::int64_t t = 0; t < s.tokens; ++t)
        for (std::int64_t e = 0; e < s.experts; ++e)
          permute_test::encode(t == 3 ? std::nanf("") : support::adversarial_value(random, kind), logits.at(t, e));
      SCOPED_TRACE(simt::next_schedule());
      EXPECT_TRUE(statistics_by_device(logits.read()) == statistics_by_host(logits.read()));
    }
  }
}

TYPED_TEST(DeviceBalance, SeparationIsTheHosts) {
  support::random_source random(2);
  for (const support::batch_shape& s :
       {support::batch_shape{0, 6, 2}, {1, 1, 1}, {33, 6, 2}, {100, 72, 10}, {33, 257, 8}}) {
    for (const std::int64_t hidden : {1, 31, 300}) {
      SCOPED_TRACE(::testing::Message() << s << " H=" << hidden);
      const support::random_choices c(random, s);
      stored_rows<TypeParam> x(s.tokens, hidden, 3, 1);
      x.fill_normal(random);
      const support::ragged_copy ragged(c.view(), random.coin());
      assignment_view on_device = ragged.view();
      on_device.slot_capacity = static_cast<std::int64_t>(ragged.ids.size());
      const double expected = separation_by_host(x.read(), c.view());
      SCOPED_TRACE(simt::next_schedule());
      EXPECT_EQ(separation_by_device(x.read(), c.view()), expected);
      EXPECT_EQ(separation_by_device(x.read(), on_device), expected);
    }
  }
}

TYPED_TEST(DeviceBalance, AgreesWithTheReference) {
  support::random_source random(7);
  for (const support::batch_shape& s :
       {support::batch_shape{0, 13, 2}, {1, 1, 1}, {33, 72, 8}, {257, 13, 2}, {33, 257, 8}, {5, 3000, 8}}) {
    for (const support::adversary kind : {support::adversary::nans, support::adversary::mixed})
      balance_test::expect_reference_statistics<TypeParam>(
          random, s, kind, [](const stored_rows<TypeParam>& logits) { return device_statistics(logits.read()); });
    balance_test::expect_reference_separation<TypeParam>(random, s,
                                                         [](const stored_rows<TypeParam>& x, assignment_view a) {
                                                           a.slot_capacity = a.slots();
                                                           return separation_by_device(x.read(), a);
                                                         });
  }
}

TEST(DeviceBalanceOfTokens, LooksAtTheTokensThatThereAre) {
  support::random_source random(3);
  const support::random_choices c(random, {300, 7, 2});
  stored_rows<float> x(300, 9);
  x.fill_normal(random);
  for (const std::int64_t tokens : {0, 1, 256, 300}) {
    matrix_view<const float> there = c.deltas();
    there.rows = tokens;
    EXPECT_TRUE(statistics_by_device(c.deltas(), &tokens) == statistics_by_host(there)) << tokens;
    matrix_view<const float> rows = x.read();
    rows.rows = tokens;
    assignment_view a = c.view();
    a.tokens = tokens;
    EXPECT_EQ(separation_by_device(x.read(), c.view(), &tokens), separation_by_host(rows, a)) << tokens;
  }
}

TEST(DeviceBalanceOfTokens, IsTheSameUnderEverySchedule) {
  support::random_source random(6);
  const support::random_choices c(random, {300, 72, 2});
  const std::string statistics_expected = statistics_by_host(c.deltas());
  stored_rows<float> x(300, 40);
  x.fill_normal(random);
  const double separation_expected = separation_by_host(x.read(), c.view());
  simt::under_every_schedule([&] {
    EXPECT_TRUE(statistics_by_device(c.deltas()) == statistics_expected);
    EXPECT_EQ(separation_by_device(x.read(), c.view()), separation_expected);
  });
}

TEST(DeviceBalanceOfTokens, EachStatisticMayBeLeftOut) {
  support::random_source random(4);
  const support::random_choices c(random, {300, 7, 2});
  statistics both(7);
  statistics only(7);
  exact_workspace workspace(balance::device_router_statistics_workspace_bytes(300, 7));
  const auto run = [&](double* mean_probability, double* z_loss) {
    EXPECT_TRUE(support::accepted(
        balance::device_router_statistics({}, c.deltas(), mean_probability, z_loss, workspace.view())));
  };
  run(both.mean_probability.data(), both.z_loss.data());
  run(only.mean_probability.data(), nullptr);
  EXPECT_TRUE(only.z_loss.untouched());
  run(nullptr, only.z_loss.data());
  EXPECT_EQ(only.bits(), both.bits());
}

// Without scatter inside the experts the ratio is infinite, without any it is 0.
TEST(DeviceBalanceOfTokens, SeparationHasItsExtremes) {
  stored_rows<float> x(4, 3);
  assignment_view a;
  const std::vector<std::int32_t> ids = {0, 0, 1, 1};
  a.tokens = 4;
  a.experts = 2;
  a.slots_per_token = 1;
  a.ids = ids.data();
  for (std::int64_t t = 0; t < 4; ++t)
    for (std::int64_t j = 0; j < 3; ++j) x.at(t, j) = t < 2 ? 1.0F : 5.0F;
  EXPECT_EQ(separation_by_device(x.read(), a), HUGE_VAL);
  for (float& value : x.memory) value = 2.0F;
  EXPECT_EQ(separation_by_device(x.read(), a), 0.0);
}

class RefusedDeviceBalance : public ::testing::Test {
 protected:
  RefusedDeviceBalance() : random(5), choices(random, {33, 6, 2}) {}

  void expect_statistics(const matrix_view<const float>& logits, status_code code, const char* argument) {
    EXPECT_TRUE(support::refused(
        balance::device_router_statistics({}, logits, out.mean_probability.data(), out.z_loss.data(), workspace.view()),
        code, argument));
    expect_untouched();
  }
  void expect_separation(const matrix_view<const float>& x, const assignment_view& a, double* ratio, status_code code,
                         const char* argument) {
    EXPECT_TRUE(support::refused(balance::device_calinski_harabasz({}, x, a, ratio, workspace.view()), code, argument));
    expect_untouched();
  }
  void expect_untouched() {
    EXPECT_TRUE(out.mean_probability.untouched() && out.z_loss.untouched() && workspace.untouched());
  }

  support::random_source random;
  support::random_choices choices;
  statistics out{6};
  exact_workspace workspace{1 << 12};
};

TEST_F(RefusedDeviceBalance, BadStatistics) {
  matrix_view<const float> logits = choices.deltas();
  logits.data = nullptr;
  expect_statistics(logits, status_code::null_pointer, "logits");
  logits = choices.deltas();
  logits.cols = 0;
  expect_statistics(logits, status_code::out_of_range, "logits");
  logits = choices.deltas();
  logits.rows = -1;
  expect_statistics(logits, status_code::out_of_range, "logits");
}

TEST_F(RefusedDeviceBalance, BadSeparation) {
  const matrix_view<const float> x = choices.deltas();
  matrix_view<const float> bad = x;
  bad.data = nullptr;
  double* ratio = out.z_loss.data();
  expect_separation(bad, choices.view(), ratio, status_code::null_pointer, "x");
  bad = x;
  bad.rows = 32;
  expect_separation(bad, choices.view(), ratio, status_code::shape_mismatch, "x");
  expect_separation(x, choices.view(), nullptr, status_code::null_pointer, "ratio");
  assignment_view a = choices.view();
  a.ids = nullptr;
  expect_separation(x, a, ratio, status_code::null_pointer, "assignments.ids");
  a = choices.view();
  a.slots_per_token = 1 << 28;
  expect_separation(x, a, ratio, status_code::index_overflow, "assignments");
}

TEST_F(RefusedDeviceBalance, SmallWorkspaces) {
  const std::size_t bytes = balance::device_router_statistics_workspace_bytes(33, 6);
  exact_workspace small(bytes - 1);
  for (const workspace_view given : {small.view(), workspace_view{nullptr, bytes}})
    EXPECT_TRUE(support::refused(
        balance::device_router_statistics({}, choices.deltas(), out.mean_probability.data(), out.z_loss.data(), given),
        status_code::workspace_too_small, "workspace"));
  exact_workspace tiny(balance::device_calinski_harabasz_workspace_bytes(6, 6) - 1);
  EXPECT_TRUE(support::refused(
      balance::device_calinski_harabasz({}, choices.deltas(), choices.view(), out.z_loss.data(), tiny.view()),
      status_code::workspace_too_small, "workspace"));
  EXPECT_TRUE(small.untouched() && tiny.untouched());
  expect_untouched();
}

}  // namespace

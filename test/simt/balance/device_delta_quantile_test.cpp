// SPDX-License-Identifier: Apache-2.0
// A batch's quantile on the device: the host's bits.
#include "resonance/balance/device_delta_quantile.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <vector>

#include "balance/quantile_reference.hpp"
#include "resonance/balance/host_delta_quantile.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

guarded_buffer<float> by_host(matrix_view<const float> affinity, double q) {
  guarded_buffer<float> quantile(1);
  exact_workspace workspace(balance::host_delta_quantile_workspace_bytes(affinity.rows, affinity.cols));
  EXPECT_TRUE(support::accepted(
      balance::host_delta_quantile(serial_executor{}, affinity, q, quantile.data(), workspace.view())));
  return quantile;
}

guarded_buffer<float> by_device(matrix_view<const float> affinity, double q, const std::int64_t* num_tokens = nullptr) {
  guarded_buffer<float> quantile(1);
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(balance::device_delta_quantile(on, affinity, q, quantile.data())));
  EXPECT_TRUE(quantile.intact());
  return quantile;
}

TEST(DeviceDeltaQuantile, HasTheHostsBits) {
  support::random_source random(1);
  for (const std::int64_t tokens : {0, 1, 33, 64, 65, 700, 5000}) {
    for (const support::adversary kind : support::all_adversaries()) {
      const std::int64_t top_k = tokens > 1000 ? 2 : 3;
      const auto values = support::adversarial_values(random, static_cast<std::size_t>(tokens * (top_k + 1)), kind);
      const matrix_view<const float> affinity(values.data(), tokens, top_k, top_k + 1);
      for (const double q : {0.0, 0.5, 0.99, 1.0}) {
        SCOPED_TRACE(::testing::Message()
                     << tokens << " " << support::name_of(kind) << " q=" << q << " " << simt::next_schedule());
        EXPECT_EQ(support::bits_of(by_device(affinity, q)), support::bits_of(by_host(affinity, q)));
      }
    }
  }
}

TEST(DeviceDeltaQuantile, AgreesWithTheReference) {
  support::random_source random(2);
  for (const std::size_t count : {1, 100, 3000}) {
    const auto values = support::adversarial_values(random, count, support::adversary::mixed);
    const matrix_view<const float> affinity(values.data(), static_cast<std::int64_t>(count), 1);
    for (const double q : {0.0, 0.1, 0.5, 0.999, 1.0})
      EXPECT_EQ(by_device(affinity, q)[0], quantile_reference::quantile(values, q)) << count << " " << q;
  }
}

TEST(DeviceDeltaQuantile, IsTheSameUnderEverySchedule) {
  support::random_source random(3);
  const auto values = support::adversarial_values(random, 1200, support::adversary::nans);
  const matrix_view<const float> affinity(values.data(), 600, 2);
  const std::string expected = support::bits_of(by_host(affinity, 0.9));
  simt::under_every_schedule([&] { EXPECT_EQ(support::bits_of(by_device(affinity, 0.9)), expected); });
}

TEST(DeviceDeltaQuantile, LooksAtTheTokensThatThereAre) {
  support::random_source random(4);
  const auto values = support::normal_values(random, 600);
  for (const std::int64_t tokens : {0, 1, 31, 300})
    EXPECT_EQ(support::bits_of(by_device({values.data(), 300, 2}, 0.75, &tokens)),
              support::bits_of(by_host({values.data(), tokens, 2}, 0.75)))
        << tokens;
}

TEST(DeviceDeltaQuantileErrors, NameTheArgumentAndWriteNothing) {
  const std::vector<float> values(12, 1.0F);
  guarded_buffer<float> quantile(1);
  const auto expect = [&](matrix_view<const float> affinity, double q, float* out, status_code code,
                          const std::string& argument) {
    EXPECT_TRUE(support::refused(balance::device_delta_quantile({}, affinity, q, out), code, argument));
    EXPECT_TRUE(quantile.untouched()) << argument;
  };
  const matrix_view<const float> good(values.data(), 4, 3);
  expect({nullptr, 4, 3}, 0.5, quantile.data(), status_code::null_pointer, "affinity");
  expect({values.data(), std::int64_t{1} << 31, 2}, 0.5, quantile.data(), status_code::index_overflow, "affinity");
  expect(good, std::nan(""), quantile.data(), status_code::out_of_range, "q");
  expect(good, 0.5, nullptr, status_code::null_pointer, "quantile");
}

}  // namespace

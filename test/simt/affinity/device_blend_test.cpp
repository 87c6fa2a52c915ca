// SPDX-License-Identifier: Apache-2.0
// Blending on the device: the host's bits for every width and alignment, and the formula's values.
#include <resonance/affinity/device_blend.cuh>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <resonance/affinity/host_blend.hpp>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>

#include "affinity/blend_fixture.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using affinity::blend_weights;
using affinity::sequence_prior;
using blend_test::batch;
using blend_test::rows;

rows by_host(const batch& b, const blend_weights& weights, std::int64_t extra, std::size_t misalignment) {
  rows out(b.scores.rows, b.scores.cols, extra, misalignment);
  EXPECT_TRUE(
      support::accepted(affinity::host_blend_prior(serial_executor{}, b.scores.read(), b.view(), weights, out.view())));
  return out;
}

rows by_device(const batch& b, const blend_weights& weights, std::int64_t extra, std::size_t misalignment,
               const std::int64_t* num_tokens = nullptr) {
  rows out(b.scores.rows, b.scores.cols, extra, misalignment);
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(affinity::device_blend_prior(on, b.scores.read(), b.view(), weights, out.view())));
  EXPECT_TRUE(out.gaps_untouched(num_tokens != nullptr ? *num_tokens : b.scores.rows));
  return out;
}

TEST(DeviceBlend, HasTheHostsBits) {
  support::random_source random(96);
  for (const std::int64_t tokens : {0, 1, 33})
    for (const std::int64_t sequences : {0, 4})
      for (const std::int64_t experts : {1, 6, 32, 129, 512})
        for (const std::int64_t extra : {0, 3})
          for (const support::adversary kind : {support::adversary::nans, support::adversary::mixed}) {
            SCOPED_TRACE(::testing::Message() << tokens << " of " << sequences << ", E=" << experts);
            const std::size_t misalignment = random.below(2);
            const batch b(random, tokens, sequences, experts, kind, extra, misalignment);
            SCOPED_TRACE(simt::next_schedule());
            const rows device = by_device(b, {16, 2}, extra, misalignment);
            EXPECT_TRUE(support::bits_of(device.memory) ==
                        support::bits_of(by_host(b, {16, 2}, extra, misalignment).memory));
            blend_test::expect_blend(b, {16, 2}, device);
          }
}

TEST(DeviceBlend, MayWriteOverTheScoresUnderEverySchedule) {
  support::random_source random(97);
  const batch b(random, 33, 3, 130, support::adversary::mixed);
  const rows host = by_host(b, {16, 2}, 0, 0);
  simt::under_every_schedule([&] {
    rows both(33, 130);
    for (std::int64_t t = 0; t < 33; ++t)
      for (std::int64_t e = 0; e < 130; ++e) both.at(t, e) = b.scores.at(t, e);
    ASSERT_TRUE(
        support::accepted(affinity::device_blend_prior(device_stream{}, both.read(), b.view(), {16, 2}, both.view())));
    EXPECT_TRUE(support::bits_of(both.memory) == support::bits_of(host.memory));
  });
}

TEST(DeviceBlend, LooksAtTheTokensThatThereAre) {
  support::random_source random(98);
  const batch b(random, 9, 3, 40, support::adversary::mixed);
  const rows host = by_host(b, {16, 2}, 0, 0);
  for (const std::int64_t tokens : {0, 5, 9}) {
    const rows device = by_device(b, {16, 2}, 0, 0, &tokens);
    for (std::int64_t t = 0; t < tokens; ++t) EXPECT_TRUE(device.same_row(t, host, t)) << t;
  }
}

TEST(DeviceBlend, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(99);
  const batch b(random, 4, 3, 5, support::adversary::constant);
  rows out(4, 5);
  const auto expect = [&](status_code code, const std::string& argument, matrix_view<const float> from,
                          const sequence_prior& prior, const blend_weights& weights, matrix_view<float> to) {
    EXPECT_TRUE(
        support::refused(affinity::device_blend_prior(device_stream{}, from, prior, weights, to), code, argument));
    EXPECT_TRUE(out.memory.untouched());
  };
  const sequence_prior good = b.view();
  expect(status_code::null_pointer, "scores", {nullptr, 4, 5}, good, {}, out.view());
  expect(status_code::shape_mismatch, "prior.rows", b.scores.read(), {{good.rows.data, 3, 4}, good.sequence_of_token},
         {}, out.view());
  expect(status_code::null_pointer, "prior.sequence_of_token", b.scores.read(), {good.rows, nullptr}, {}, out.view());
  expect(status_code::out_of_range, "weights.token", b.scores.read(), good, {std::nanf(""), 0}, out.view());
  expect(status_code::shape_mismatch, "out", b.scores.read(), good, {}, {out.memory.data(), 3, 5});
}

}  // namespace

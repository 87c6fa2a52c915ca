// SPDX-License-Identifier: Apache-2.0
// Contrast on the device: the host's bits for every row type, width and alignment, and the formula's values.
#include <resonance/affinity/device_contrast.cuh>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <resonance/affinity/host_contrast.hpp>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>

#include "affinity/contrast_fixture.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using affinity::contrast_options;
using contrast_test::rows;

template <class Row>
rows<float> by_host(const matrix_view<const Row>& strong, const matrix_view<const Row>& weak, const contrast_options& o,
                    std::int64_t extra, std::size_t misalignment) {
  rows<float> out(strong.rows, strong.cols, extra, misalignment);
  EXPECT_TRUE(support::accepted(affinity::host_contrast_logits(serial_executor{}, strong, weak, o, out.view())));
  return out;
}

template <class Row>
rows<float> by_device(const matrix_view<const Row>& strong, const matrix_view<const Row>& weak,
                      const contrast_options& o, std::int64_t extra, std::size_t misalignment,
                      const std::int64_t* num_tokens = nullptr) {
  rows<float> out(strong.rows, strong.cols, extra, misalignment);
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(affinity::device_contrast_logits(on, strong, weak, o, out.view())));
  EXPECT_TRUE(out.gaps_untouched(num_tokens != nullptr ? *num_tokens : strong.rows));
  return out;
}

template <class Row>
class DeviceContrast : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceContrast, permute_test::row_types, );

TYPED_TEST(DeviceContrast, HasTheHostsBits) {
  support::random_source random(81);
  for (const std::int64_t tokens : {0, 1, 9})
    for (const std::int64_t count : {1, 6, 64, 257, 1031, 4096})
      for (const std::int64_t extra : {0, 1})
        for (const support::adversary kind : {support::adversary::nans, support::adversary::mixed}) {
          SCOPED_TRACE(::testing::Message() << tokens << "x" << count << " " << support::name_of(kind));
          const std::size_t misalignment = random.below(2);
          rows<TypeParam> strong(tokens, count, extra, misalignment);
          rows<TypeParam> weak(tokens, count, 4);
          contrast_test::fill(random, kind, strong);
          contrast_test::fill(random, kind, weak);
          SCOPED_TRACE(simt::next_schedule());
          const contrast_options o{0.3F, 0.7F};
          const rows<float> device = by_device(strong.read(), weak.read(), o, extra, misalignment);
          const rows<float> host = by_host(strong.read(), weak.read(), o, extra, misalignment);
          EXPECT_TRUE(support::bits_of(device.memory) == support::bits_of(host.memory));
          contrast_test::expect_contrast(strong, weak, o.alpha, o.beta, device);
        }
}

TEST(DeviceContrastOfTokens, LooksAtTheTokensThatThereAreUnderEverySchedule) {
  support::random_source random(82);
  rows<float> strong(7, 700);
  rows<float> weak(7, 700);
  strong.fill_normal(random);
  weak.fill_normal(random);
  for (const std::int64_t tokens : {0, 3, 7}) {
    matrix_view<const float> there = strong.read();
    matrix_view<const float> other = weak.read();
    there.rows = other.rows = tokens;
    const rows<float> host = by_host(there, other, {}, 0, 0);
    simt::under_every_schedule([&] {
      const rows<float> device = by_device(strong.read(), weak.read(), {}, 0, 0, &tokens);
      for (std::int64_t t = 0; t < tokens; ++t) EXPECT_TRUE(device.same_row(t, host, t)) << t;
    });
  }
}

TEST(DeviceContrastOfTokens, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(83);
  rows<float> logits(3, 8);
  rows<float> out(3, 8);
  logits.fill_normal(random);
  const matrix_view<const float> rows_of_logits = logits.read();
  const auto expect = [&](status_code code, const std::string& argument, const contrast_options& o,
                          matrix_view<const float> strong, matrix_view<const float> weak, matrix_view<float> to) {
    EXPECT_TRUE(
        support::refused(affinity::device_contrast_logits(device_stream{}, strong, weak, o, to), code, argument));
    EXPECT_TRUE(out.memory.untouched());
  };
  expect(status_code::out_of_range, "alpha", {0.0F, 0.5F}, rows_of_logits, rows_of_logits, out.view());
  expect(status_code::out_of_range, "beta", {0.1F, -1.0F}, rows_of_logits, rows_of_logits, out.view());
  expect(status_code::null_pointer, "strong", {}, {nullptr, 3, 8}, rows_of_logits, out.view());
  expect(status_code::shape_mismatch, "weak", {}, rows_of_logits, {logits.memory.data(), 2, 8}, out.view());
  expect(status_code::shape_mismatch, "out", {}, rows_of_logits, rows_of_logits, {out.memory.data(), 2, 8});
  expect(status_code::null_pointer, "out", {}, rows_of_logits, rows_of_logits, {nullptr, 3, 8});
}

}  // namespace

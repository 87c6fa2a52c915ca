// SPDX-License-Identifier: Apache-2.0
// Affinities and scores on the device: the host's bits for every metric, row type and awkward width, and the
// reference's values.
#include <resonance/affinity/device_affinity.cuh>

#include <gtest/gtest.h>

#include <cstring>
#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/host_scores.hpp>
#include <simt/environment.hpp>
#include <support/assignments.hpp>
#include <support/poison.hpp>
#include <support/random.hpp>
#include <vector>

#include "affinity/fixture.hpp"
#include "affinity/reference_score.hpp"
#include "affinity/typed_rows.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

//! Runs device_affinity in exactly the answered workspace, and checks the red zones.
const auto run_on_device = [](const auto& metric, const auto& input, std::size_t tokens, std::size_t experts) {
  guarded_buffer<float> out(tokens * experts);
  support::exact_workspace space(affinity::device_affinity_workspace_bytes(metric, input));
  const matrix_view<float> whole(out.data(), static_cast<std::int64_t>(tokens), static_cast<std::int64_t>(experts));
  EXPECT_TRUE(support::accepted(affinity::device_affinity(device_stream{}, metric, input, whole, space.view())));
  EXPECT_TRUE(out.intact() && space.intact());
  return support::values_of(out);
};

template <class Metric, class Input>
void expect_the_hosts_affinity(const Metric& metric, const Input& input, std::int64_t tokens, std::int64_t experts) {
  guarded_buffer<float> host(static_cast<std::size_t>(tokens * experts));
  support::exact_workspace host_space(affinity::host_affinity_workspace_bytes(serial_executor{}, metric, input));
  ASSERT_TRUE(support::accepted(affinity::host_affinity(
      serial_executor{}, metric, input, matrix_view<float>(host.data(), tokens, experts), host_space.view())));
  EXPECT_TRUE(typed_rows::same_bits(
      run_on_device(metric, input, static_cast<std::size_t>(tokens), static_cast<std::size_t>(experts)), host));
}

template <class Row>
std::vector<Row> random_rows(support::random_source& random, std::int64_t count) {
  std::vector<Row> rows(static_cast<std::size_t>(count));
  for (Row& value : rows) value = row_traits<Row>::narrow(static_cast<float>(random.normal()));
  return rows;
}

struct width {
  std::int64_t hidden;
  std::int32_t experts;
};
//! Slices of one column, of powers of two, crossing chunks of 1024, longer than a chunk, and of uneven length.
const width widths[] = {{1, 1},      {7, 7},    {257, 13},  {1024, 8}, {2050, 2},
                        {2880, 128}, {3000, 1}, {4096, 64}, {1500, 31}};

template <class Row>
void expect_every_metric(std::uint64_t seed) {
  support::random_source random(seed);
  for (const width& w : widths) {
    for (const std::int64_t padding : {0, 3}) {
      SCOPED_TRACE(::testing::Message() << "H " << w.hidden << ", E " << w.experts << ", stride + " << padding);
      const std::int64_t stride = w.hidden + padding;
      constexpr std::int64_t tokens = 5;
      const auto x = random_rows<Row>(random, tokens * stride);
      const auto gate = random_rows<Row>(random, w.experts * stride);
      const auto slice_weights = support::normal_values(random, static_cast<std::size_t>(w.hidden));
      affinity::hidden_input<Row> input;
      input.hidden = matrix_view<const Row>(x.data(), tokens, w.hidden, stride);
      input.gate = matrix_view<const Row>(gate.data(), w.experts, w.hidden, stride);
      input.experts = w.experts;
      expect_the_hosts_affinity(affinity::grouped_average_cosine{}, input, tokens, w.experts);
      expect_the_hosts_affinity(affinity::cosine{}, input, tokens, w.experts);
      if (padding == 0) {
        expect_the_hosts_affinity(affinity::dot{}, input, tokens, w.experts);
        input.slice_weights = slice_weights.data();
        expect_the_hosts_affinity(affinity::grouped_average_cosine{}, input, tokens, w.experts);
        expect_the_hosts_affinity(affinity::grouped_average{}, input, tokens, w.experts);
      }
    }
  }
}

TEST(DeviceAffinity, HasTheHostsBitsForFloat32) { expect_every_metric<float>(1); }
TEST(DeviceAffinity, HasTheHostsBitsForBfloat16) { expect_every_metric<bfloat16>(2); }
TEST(DeviceAffinity, HasTheHostsBitsForFloat16) { expect_every_metric<float16>(3); }

template <class Row>
class DeviceAffinityReference : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceAffinityReference, typed_rows::all, typed_rows::names);

const affinity_test::shape reference_shapes[] = {{0, 8, 16},   {1, 1, 1},     {33, 13, 77},
                                                 {257, 8, 40}, {33, 72, 130}, {3, 257, 1031}};

TYPED_TEST(DeviceAffinityReference, ScoresAGateAndSlices) {
  support::random_source random(7);
  for (const affinity_test::shape& s : reference_shapes) {
    affinity_test::expect_gate_like_the_reference<TypeParam>(random, s, run_on_device);
    affinity_test::expect_slices_like_the_reference<TypeParam>(random, s, run_on_device);
  }
}

TEST(DeviceAffinity, TakesLogitsLikeTheReference) {
  support::random_source random(8);
  for (const affinity_test::shape& s : reference_shapes)
    affinity_test::expect_logits_like_the_reference<float>(random, s, run_on_device);
}

TEST(DeviceAffinity, TakesLogitsWithNormsAndInfinities) {
  support::random_source random(4);
  auto logits = support::normal_values(random, 9 * 33);
  logits[3] = HUGE_VALF;
  logits[4] = std::nanf("");
  const auto token_norms = support::normal_values(random, 9);
  auto gate_norms = support::normal_values(random, 33);
  gate_norms[0] = 0;
  affinity::logits_input<float> input{matrix_view<const float>(logits.data(), 9, 33), token_norms.data(),
                                      gate_norms.data()};
  simt::under_every_schedule([&] {
    expect_the_hosts_affinity(affinity::logits{}, input, 9, 33);
    expect_the_hosts_affinity(affinity::cosine_of_logits{}, input, 9, 33);
  });
}

TEST(DeviceAffinity, KeepsLongRowsInTheWorkspace) {
  support::random_source random(5);
  const auto logits = support::normal_values(random, 3 * 14000);
  const affinity::logits_input<float> input{matrix_view<const float>(logits.data(), 3, 14000)};
  ASSERT_GT(affinity::device_affinity_workspace_bytes(affinity::logits{}, input), 0u);
  expect_the_hosts_affinity(affinity::logits{}, input, 3, 14000);
}

template <class Score>
void expect_the_hosts_scores(const Score& score, affinity::softmax_axis axis) {
  support::random_source random(6);
  auto affinity = support::normal_values(random, 40 * 13);
  affinity[3] = -HUGE_VALF;
  affinity[14] = HUGE_VALF;
  for (std::size_t t = 0; t < 40; ++t) affinity[t * 13 + 5] = std::nanf("");
  guarded_buffer<float> host(40 * 11);
  guarded_buffer<float> device(host.size());
  const matrix_view<const float> in(affinity.data(), 40, 11, 13);
  ASSERT_TRUE(support::accepted(
      affinity::host_scores(serial_executor{}, score, in, matrix_view<float>(host.data(), 40, 11), axis)));
  ASSERT_TRUE(support::accepted(
      affinity::device_scores(device_stream{}, score, in, matrix_view<float>(device.data(), 40, 11), axis)));
  EXPECT_TRUE(device.intact());
  EXPECT_EQ(std::memcmp(host.data(), device.data(), host.size_bytes()), 0);
}

TEST(DeviceScores, HasTheHostsBits) {
  simt::under_every_schedule([] {
    for (const auto axis : {affinity::softmax_axis::experts, affinity::softmax_axis::tokens}) {
      expect_the_hosts_scores(affinity::softmax{}, axis);
      expect_the_hosts_scores(affinity::sigmoid{}, axis);
      expect_the_hosts_scores(affinity::relu_softmax{}, axis);
    }
  });
}

template <class Score>
void expect_the_references_scores(const Score& score) {
  support::random_source random(9);
  for (const affinity_test::shape& s : reference_shapes) {
    const std::vector<float> delta = reference_score::random_delta(random, s.tokens * s.experts);
    const auto rows = static_cast<std::int64_t>(s.tokens);
    const auto cols = static_cast<std::int64_t>(s.experts);
    const reference::matrix exact = reference::widened(delta, s.tokens, s.experts);
    const auto expect = [&](affinity::softmax_axis axis, const reference::matrix& expected) {
      guarded_buffer<float> out(delta.size());
      ASSERT_TRUE(support::accepted(
          affinity::device_scores(device_stream{}, score, {delta.data(), rows, cols}, {out.data(), rows, cols}, axis)));
      EXPECT_TRUE(out.intact());
      reference_score::expect_scores(support::values_of(out), delta, expected);
    };
    expect(affinity::softmax_axis::experts, reference::scores(exact, reference_score::options_of(score)));
    if (Score::normalized_over == normalizer::row)
      expect(affinity::softmax_axis::tokens, reference::softmax_over_tokens(exact));
  }
}

TEST(DeviceScores, AgreeWithTheReference) {
  expect_the_references_scores(affinity::softmax{});
  expect_the_references_scores(affinity::sigmoid{});
}

TEST(DeviceAffinityErrors, NameTheArgument) {
  const std::vector<float> x(8);
  float out = 0;
  affinity::hidden_input<float> input;
  input.hidden = matrix_view<const float>(x.data(), 2, 4);
  const auto run = [&](matrix_view<float> affinity) {
    return affinity::device_affinity(device_stream{}, affinity::grouped_average_cosine{}, input, affinity, {});
  };
  input.experts = 5;
  EXPECT_TRUE(support::refused(run({&out, 2, 5}), status_code::out_of_range, "experts"));
  input.experts = 2;
  EXPECT_TRUE(support::refused(run({&out, 2, 3}), status_code::shape_mismatch, "affinity"));
  EXPECT_TRUE(support::refused(run({nullptr, 2, 2}), status_code::null_pointer, "affinity"));
  affinity::softmax score;
  score.temperature = 0;
  EXPECT_TRUE(support::refused(affinity::device_scores(device_stream{}, score, {x.data(), 2, 4}, {&out, 2, 4}),
                               status_code::out_of_range, "temperature"));
}

}  // namespace

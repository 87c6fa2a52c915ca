// SPDX-License-Identifier: Apache-2.0
#include <resonance/affinity/host_affinity.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/fixture.hpp"
#include "affinity/typed_rows.hpp"
#include "core/naive_sum.hpp"
#include "reference/affinity.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"
#include "support/sparse.hpp"

namespace {

namespace affinity = resonance::affinity;
using affinity_test::expect_near;
using affinity_test::padded_rows;
using affinity_test::shape;
using resonance::matrix_view;
using resonance::status;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

const std::vector<shape> shapes = {{0, 8, 16},     {1, 1, 1},      {7, 6, 13},     {33, 13, 77},
                                   {257, 7, 130},  {33, 72, 2880}, {9, 128, 2880}, {7, 257, 1031},
                                   {3, 512, 1500}, {33, 64, 2049}, {5, 288, 1024}};

matrix_view<float> whole(support::guarded_buffer<float>& buffer, std::size_t rows, std::size_t cols) {
  return {buffer.data(), static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols)};
}

//! Runs host_affinity in a workspace of exactly the answered size at an odd address, and checks the red zones.
template <class Metric, class Input>
std::vector<float> run(const support::any_executor& executor, const Metric& metric, const Input& input,
                       std::size_t tokens, std::size_t experts) {
  support::guarded_buffer<float> out(tokens * experts);
  support::guarded_buffer<char> workspace(affinity::host_affinity_workspace_bytes(executor, metric, input), 1);
  const status result = affinity::host_affinity(executor, metric, input, whole(out, tokens, experts),
                                                {workspace.data(), workspace.size()});
  EXPECT_TRUE(result.ok()) << result.argument << ' ' << result.message();
  EXPECT_TRUE(out.intact() && workspace.intact());
  return {out.begin(), out.end()};
}

//! The same on one thread, as the fixture calls it.
const auto run_serially = [](const auto& metric, const auto& input, std::size_t tokens, std::size_t experts) {
  return run(support::serial(), metric, input, tokens, experts);
};

template <class Row>
class HostAffinity : public ::testing::Test {};
TYPED_TEST_SUITE(HostAffinity, typed_rows::all, typed_rows::names);

TYPED_TEST(HostAffinity, ScoresAGateLikeTheReference) {
  support::random_source random(31);
  for (const shape& s : shapes) affinity_test::expect_gate_like_the_reference<TypeParam>(random, s, run_serially);
}

TYPED_TEST(HostAffinity, ScoresSlicesLikeTheReference) {
  support::random_source random(32);
  for (const shape& s : shapes) affinity_test::expect_slices_like_the_reference<TypeParam>(random, s, run_serially);
}

TYPED_TEST(HostAffinity, TakesLogitsAsTheyAreOrOverTheirNorms) {
  support::random_source random(33);
  for (const shape& s : shapes) affinity_test::expect_logits_like_the_reference<TypeParam>(random, s, run_serially);
}

//! The documented order of additions, fused multiply-adds, roots and quotients leave no bit to chance.
TYPED_TEST(HostAffinity, HasTheBitsOfTheWrittenOrder) {
  support::random_source random(34);
  const std::size_t tokens = 19, experts = 13, hidden = 1500;
  const padded_rows<TypeParam> x(random, tokens, hidden), w(random, experts, hidden);
  const std::vector<float> v = support::normal_values(random, hidden);
  affinity::hidden_input<TypeParam> input;
  input.hidden = x.view();
  input.gate = w.view();
  input.experts = static_cast<std::int32_t>(experts);

  const auto product = [](const float* a, const float* b, std::int64_t begin, std::int64_t end) {
    return naive::ordered_sum(begin, end, [=](float acc, std::int64_t j) { return std::fma(a[j], b[j], acc); });
  };
  std::vector<float> dot, cosine, grap, mean, weighted_grap;
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t e = 0; e < experts; ++e) {
      const float* a = x.values.data() + t * hidden;
      const float* b = w.values.data() + e * hidden;
      const float token_norm = std::sqrt(product(a, a, 0, hidden));
      dot.push_back(product(a, b, 0, hidden));
      cosine.push_back(dot.back() / (token_norm * std::sqrt(product(b, b, 0, hidden))));
      const auto begin = static_cast<std::int64_t>(reference::slice_begin(e, hidden, experts));
      const auto end = static_cast<std::int64_t>(reference::slice_begin(e + 1, hidden, experts));
      const auto length = static_cast<float>(end - begin);
      const float sum = naive::ordered_sum(begin, end, [=](float acc, std::int64_t j) { return acc + a[j]; });
      mean.push_back(sum / length);
      grap.push_back(sum / (token_norm * std::sqrt(length)));
      weighted_grap.push_back(product(a, v.data(), begin, end) /
                              (token_norm * std::sqrt(product(v.data(), v.data(), begin, end))));
    }
  const support::any_executor serial = support::serial();
  EXPECT_TRUE(typed_rows::same_bits(run(serial, affinity::dot{}, input, tokens, experts), dot));
  EXPECT_TRUE(typed_rows::same_bits(run(serial, affinity::cosine{}, input, tokens, experts), cosine));
  EXPECT_TRUE(typed_rows::same_bits(run(serial, affinity::grouped_average_cosine{}, input, tokens, experts), grap));
  EXPECT_TRUE(typed_rows::same_bits(run(serial, affinity::grouped_average{}, input, tokens, experts), mean));
  input.slice_weights = v.data();
  EXPECT_TRUE(
      typed_rows::same_bits(run(serial, affinity::grouped_average_cosine{}, input, tokens, experts), weighted_grap));
}

TYPED_TEST(HostAffinity, HasTheSameBitsOnEveryExecutor) {
  support::random_source random(35);
  const std::size_t tokens = 257, experts = 130, hidden = 193;
  const padded_rows<TypeParam> x(random, tokens, hidden), w(random, experts, hidden);
  affinity::hidden_input<TypeParam> input;
  input.hidden = x.view();
  input.gate = w.view();
  input.experts = static_cast<std::int32_t>(experts);
  const support::any_executor serial = support::serial();
  const std::vector<float> cosine = run(serial, affinity::cosine{}, input, tokens, experts);
  const std::vector<float> grap = run(serial, affinity::grouped_average_cosine{}, input, tokens, experts);
  support::with_every_executor([&](const auto& executor, const char* name) {
    EXPECT_TRUE(typed_rows::same_bits(run(executor, affinity::cosine{}, input, tokens, experts), cosine)) << name;
    EXPECT_TRUE(typed_rows::same_bits(run(executor, affinity::grouped_average_cosine{}, input, tokens, experts), grap))
        << name;
  });
}

TYPED_TEST(HostAffinity, WritesPlusInfinityAsTheLargestFiniteLogit) {
  const std::vector<TypeParam> logits = typed_rows::narrowed<TypeParam>({infinity, -infinity, nan, -0.0F});
  affinity::logits_input<TypeParam> input;
  input.logits = {logits.data(), 2, 2};
  const std::vector<float> delta = run(support::serial(), affinity::logits{}, input, 2, 2);
  EXPECT_EQ(static_cast<double>(delta[0]), typed_rows::largest<TypeParam>());
  EXPECT_EQ(delta[1], -infinity);
  EXPECT_TRUE(std::isnan(delta[2]));
  EXPECT_EQ(delta[3], 0.0F);
}

TEST(HostAffinityMixedTypes, ReadsAGateOfAnotherTypeThanTheTokens) {
  support::random_source random(36);
  const padded_rows<resonance::bfloat16> x(random, 33, 77);
  const padded_rows<float> w(random, 6, 77);
  affinity::hidden_input<resonance::bfloat16, float> input;
  input.hidden = x.view();
  input.gate = w.view();
  expect_near(run(support::serial(), affinity::dot{}, input, 33, 6), reference::dot(x.exact(), w.exact()),
              reference::dot(x.magnitudes(), w.magnitudes()));
  affinity::hidden_input<float, resonance::bfloat16> swapped;
  swapped.hidden = w.view();
  swapped.gate = x.view();
  expect_near(run(support::serial(), affinity::cosine{}, swapped, 6, 33), reference::cosine(w.exact(), x.exact()),
              reference::cosine(w.magnitudes(), x.magnitudes()));
}

TEST(HostAffinityFacts, GrapOfAnIndicatorIsOneHotAndSquaresSumToOneAtMost) {
  const std::size_t experts = 13, hidden = 77;
  std::vector<float> x(experts * hidden, 0.0F);
  for (std::size_t i = 0; i < experts; ++i)
    for (std::size_t j = reference::slice_begin(i, hidden, experts); j < reference::slice_begin(i + 1, hidden, experts);
         ++j)
      x[i * hidden + j] = 0.5F;
  affinity::hidden_input<float> input;
  input.hidden = {x.data(), 13, 77};
  input.experts = 13;
  const std::vector<float> one_hot = run(support::serial(), affinity::grouped_average_cosine{}, input, 13, 13);
  for (std::size_t t = 0; t < 13; ++t)
    for (std::size_t e = 0; e < 13; ++e) EXPECT_NEAR(one_hot[t * 13 + e], t == e ? 1.0 : 0.0, 2e-7);

  support::random_source random(37);
  x = support::normal_values(random, x.size());
  input.hidden = {x.data(), 13, 77};
  const std::vector<float> delta = run(support::serial(), affinity::grouped_average_cosine{}, input, 13, 13);
  for (float& value : x) value *= 1024.0F;  // a power of two scales every sum exactly
  const std::vector<float> scaled = run(support::serial(), affinity::grouped_average_cosine{}, input, 13, 13);
  EXPECT_TRUE(typed_rows::same_bits(delta, scaled));
  for (std::size_t t = 0; t < 13; ++t) {
    double squares = 0;
    for (std::size_t e = 0; e < 13; ++e) squares += static_cast<double>(delta[t * 13 + e]) * delta[t * 13 + e];
    EXPECT_LE(squares, 1.0 + 1e-6);
  }
}

TEST(HostAffinityEdges, AZeroRowScoresZeroAndANanRowNan) {
  const std::vector<float> x = {0, 0, 0, 0, 1, nan, 1, 1, 1, 1, 1, 1};
  const std::vector<float> w = {1, 2, 3, 4, 0, 0, 0, 0};
  affinity::hidden_input<float> input;
  input.hidden = {x.data(), 3, 4};
  input.gate = {w.data(), 2, 4};
  input.experts = 2;
  const support::any_executor serial = support::serial();
  const std::vector<float> cosine = run(serial, affinity::cosine{}, input, 3, 2);
  EXPECT_EQ(cosine[0], 0.0F);
  EXPECT_EQ(cosine[1], 0.0F);
  EXPECT_TRUE(std::isnan(cosine[2]));
  EXPECT_GT(cosine[4], 0.0F);
  EXPECT_EQ(cosine[5], 0.0F);
  const std::vector<float> grap = run(serial, affinity::grouped_average_cosine{}, input, 3, 2);
  EXPECT_EQ(grap[0], 0.0F);
  EXPECT_TRUE(std::isnan(grap[2]) && std::isnan(grap[3]));  // the norm is the whole row's
}

TEST(HostAffinityEdges, WritesStridedRowsAndNothingBetweenThem) {
  support::random_source random(38);
  const padded_rows<float> x(random, 33, 13), w(random, 6, 13);
  affinity::hidden_input<float> input;
  input.hidden = x.view();
  input.gate = w.view();
  const support::any_executor serial = support::serial();
  const std::vector<float> dense = run(serial, affinity::dot{}, input, 33, 6);
  support::guarded_buffer<float> out(33 * 11);
  support::guarded_buffer<char> workspace(affinity::host_affinity_workspace_bytes(serial, affinity::dot{}, input));
  ASSERT_TRUE(affinity::host_affinity(serial, affinity::dot{}, input, matrix_view<float>(out.data(), 33, 6, 11),
                                      {workspace.data(), workspace.size()})
                  .ok());
  for (std::size_t t = 0; t < 33; ++t) {
    for (std::size_t e = 0; e < 6; ++e) EXPECT_EQ(out[t * 11 + e], dense[t * 6 + e]);
    EXPECT_TRUE(out.untouched(t * 11 + 6, 5)) << t;
  }
}

TEST(HostAffinityEdges, RowsBeyondTwoToThe31Elements) {
  const std::int64_t stride = (std::int64_t{1} << 31) + 16;
  support::sparse_mapping<float> hidden(static_cast<std::size_t>(stride + 16)),
      out(static_cast<std::size_t>(stride + 16));
  if (!hidden.valid() || !out.valid()) GTEST_SKIP() << "no address space for 16 GiB";
  hidden[0] = 3.0F;
  hidden[static_cast<std::size_t>(stride) + 1] = 5.0F;
  affinity::hidden_input<float> input;
  input.hidden = {hidden.data(), 2, 2, stride};
  input.experts = 2;
  std::vector<char> workspace(
      affinity::host_affinity_workspace_bytes(support::serial(), affinity::grouped_average{}, input));
  ASSERT_TRUE(affinity::host_affinity(support::serial(), affinity::grouped_average{}, input,
                                      matrix_view<float>(out.data(), 2, 2, stride),
                                      {workspace.data(), workspace.size()})
                  .ok());
  EXPECT_EQ(out[0], 3.0F);
  EXPECT_EQ(out[static_cast<std::size_t>(stride) + 1], 5.0F);
}

}  // namespace

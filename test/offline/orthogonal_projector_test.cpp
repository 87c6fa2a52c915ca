// SPDX-License-Identifier: Apache-2.0
#include <resonance/offline/orthogonal_projector.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "offline/dense_algebra.hpp"
#include "permute/fixture.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using permute_test::stored_rows;
using support::guarded_buffer;

constexpr std::size_t hidden = 12;

struct accumulated {
  guarded_buffer<double> memory;
  std::int32_t experts;
  explicit accumulated(std::int32_t count) : memory(static_cast<std::size_t>(count) * hidden * hidden), experts(count) {
    EXPECT_TRUE(support::accepted(offline::reset_projectors(view())));
  }
  offline::projectors view() { return {memory.data(), experts, hidden}; }
  dense::square of(std::size_t expert) const {
    return {memory.begin() + expert * hidden * hidden, memory.begin() + (expert + 1) * hidden * hidden};
  }
};

template <class Row>
void add(const support::any_executor& executor, const stored_rows<Row>& rows, const std::vector<std::int32_t>& offsets,
         double alpha, accumulated& p) {
  support::exact_workspace space(offline::accumulate_projectors_workspace_bytes(executor, hidden));
  EXPECT_TRUE(support::accepted(
      offline::accumulate_projectors(executor, rows.read(), offsets.data(), alpha, p.view(), space.view())));
  EXPECT_TRUE(space.intact() && p.memory.intact());
}

//! The rows of one expert, in double.
template <class Row>
std::vector<dense::vector> widened(const stored_rows<Row>& rows, std::int64_t begin, std::int64_t end) {
  std::vector<dense::vector> values;
  for (std::int64_t r = begin; r < end; ++r) {
    values.emplace_back();
    for (std::int64_t j = 0; j < rows.cols; ++j) values.back().push_back(permute_test::value_of(rows.at(r, j)));
  }
  return values;
}

template <class Row>
class OrthogonalProjector : public ::testing::Test {};
TYPED_TEST_SUITE(OrthogonalProjector, permute_test::row_types, );

// Experts with no row, one, some, and more rows than dimensions.
const std::vector<std::int32_t> offsets = {1, 1, 2, 7, 40};

TYPED_TEST(OrthogonalProjector, RecursionIsTheClosedForm) {
  support::random_source random(1);
  stored_rows<TypeParam> rows(44, hidden, 3, 1);
  rows.fill_normal(random);
  for (double alpha : {1e-3, 0.5, 20.0}) {
    accumulated p(4);
    add(support::serial(), rows, offsets, alpha, p);
    for (std::size_t e = 0; e < 4; ++e) {
      const dense::square expected =
          dense::closed_form_projector(widened(rows, offsets[e], offsets[e + 1]), hidden, alpha);
      for (std::size_t i = 0; i < hidden * hidden; ++i) EXPECT_NEAR(p.of(e)[i], expected[i], 1e-9) << e << " " << i;
    }
  }
}

TYPED_TEST(OrthogonalProjector, IsSymmetricWithEigenvaluesFromZeroToOne) {
  support::random_source random(2);
  stored_rows<TypeParam> rows(44, hidden);
  rows.fill_normal(random);
  accumulated p(4);
  add(support::serial(), rows, offsets, 1e-2, p);
  for (std::size_t e = 0; e < 4; ++e) {
    const dense::square of_expert = p.of(e);
    for (std::size_t i = 0; i < hidden; ++i)
      for (std::size_t j = 0; j < hidden; ++j) EXPECT_EQ(of_expert[i * hidden + j], of_expert[j * hidden + i]);
    const dense::vector values = dense::eigenvalues(of_expert, hidden);
    EXPECT_GE(values.front(), -1e-12);
    EXPECT_LE(values.back(), 1 + 1e-12);
    const std::size_t seen = std::min<std::size_t>(hidden, static_cast<std::size_t>(offsets[e + 1] - offsets[e]));
    for (std::size_t i = 0; i < hidden; ++i)  // a seen direction keeps little, another all
      EXPECT_EQ(values[i] > 0.9, i >= seen) << "expert " << e << " eigenvalue " << values[i];
  }
}

TYPED_TEST(OrthogonalProjector, ShrinksASingleRowByAlpha) {
  support::random_source random(3);
  stored_rows<TypeParam> row(1, hidden);
  row.fill_normal(random);
  const dense::vector a = widened(row, 0, 1)[0];
  double length = 0;
  for (double value : a) length += value * value;
  for (double alpha : {1e-6, 0.3, 4.0}) {
    accumulated p(1);
    add(support::serial(), row, {0, 1}, alpha, p);
    for (std::size_t i = 0; i < hidden; ++i) {
      double image = 0;
      for (std::size_t j = 0; j < hidden; ++j) image += p.of(0)[i * hidden + j] * a[j];
      EXPECT_NEAR(image, alpha / (alpha + length) * a[i], 1e-12);
    }
  }
}

TYPED_TEST(OrthogonalProjector, HasTheSameBitsOnEveryExecutorAndInPieces) {
  support::random_source random(4);
  stored_rows<TypeParam> rows(64, hidden);
  rows.fill_normal(random);
  std::vector<std::int32_t> many;
  for (std::int32_t e = 0; e <= 16; ++e) many.push_back(4 * e);
  accumulated once(16);
  add(support::serial(), rows, many, 0.1, once);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    accumulated p(16);
    add(executor, rows, many, 0.1, p);
    EXPECT_EQ(support::bits_of(p.memory), support::bits_of(once.memory)) << name;
  });
  accumulated first(1), both(1);  // two calls are one
  add(support::serial(), rows, {0, 9}, 0.1, both);
  add(support::serial(), rows, {0, 4}, 0.1, first);
  add(support::serial(), rows, {4, 9}, 0.1, first);
  EXPECT_EQ(support::bits_of(first.memory), support::bits_of(both.memory));
}

TYPED_TEST(OrthogonalProjector, PaddingAndBrokenRowsChangeNothing) {
  support::random_source random(5);
  stored_rows<TypeParam> rows(6, hidden);
  rows.fill_normal(random);
  accumulated clean(1), p(1);
  add(support::serial(), rows, {0, 3}, 0.1, clean);
  for (std::int64_t j = 0; j < static_cast<std::int64_t>(hidden); ++j) permute_test::encode(0.0F, rows.at(3, j));
  permute_test::encode(std::nanf(""), rows.at(4, 2));
  permute_test::encode(std::numeric_limits<float>::infinity(), rows.at(5, 7));
  add(support::serial(), rows, {0, 6}, 0.1, p);
  EXPECT_EQ(support::bits_of(p.memory), support::bits_of(clean.memory));
}

TEST(MeanOfOtherProjectors, LeavesTheExpertItselfOut) {
  support::random_source random(6);
  accumulated p(4);
  for (double& value : p.memory) value = random.normal();
  guarded_buffer<double> mean(hidden * hidden);
  for (std::int32_t e = 0; e < 4; ++e) {
    ASSERT_TRUE(support::accepted(offline::mean_of_other_projectors(p.view(), e, mean.data())));
    EXPECT_TRUE(mean.intact());
    for (std::size_t i = 0; i < hidden * hidden; ++i) {
      double sum = 0;
      for (std::size_t other = 0; other < 4; ++other)
        if (static_cast<std::int32_t>(other) != e) sum += p.of(other)[i];
      EXPECT_NEAR(mean[i], sum / 3, 1e-14);
    }
  }
}

TEST(OrthogonalStep, AddsTheProjectedUpdate) {
  support::random_source random(7);
  const std::vector<float> update = support::normal_values(random, 5 * hidden);
  std::vector<double> projector(hidden * hidden);
  for (std::size_t i = 0; i < hidden; ++i)
    for (std::size_t j = 0; j <= i; ++j) projector[i * hidden + j] = projector[j * hidden + i] = random.normal();
  const std::vector<float> start = support::normal_values(random, 5 * hidden);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    stored_rows<float> weights(5, hidden, 2);
    for (std::int64_t o = 0; o < 5; ++o)
      for (std::int64_t i = 0; i < weights.cols; ++i)
        weights.at(o, i) = start[static_cast<std::size_t>(o * weights.cols + i)];
    ASSERT_TRUE(support::accepted(offline::orthogonal_step(
        executor, weights.view(), matrix_view<const float>(update.data(), 5, hidden), projector.data(), 0.25)));
    EXPECT_TRUE(weights.gaps_untouched(5));
    for (std::size_t o = 0; o < 5; ++o)
      for (std::size_t i = 0; i < hidden; ++i) {
        double sum = 0;
        for (std::size_t j = 0; j < hidden; ++j)
          sum += static_cast<double>(update[o * hidden + j]) * projector[j * hidden + i];
        EXPECT_NEAR(static_cast<double>(weights.at(static_cast<std::int64_t>(o), static_cast<std::int64_t>(i))),
                    static_cast<double>(start[o * hidden + i]) + 0.25 * sum, 1e-5)
            << name;
      }
  });
}

TEST(OrthogonalProjectorErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(8);
  stored_rows<float> rows(9, hidden);
  rows.fill_normal(random);
  guarded_buffer<double> memory(2 * hidden * hidden);
  const offline::projectors good{memory.data(), 2, hidden};
  const std::size_t bytes = offline::accumulate_projectors_workspace_bytes(serial_executor{}, hidden);
  const auto expect = [&](status_code code, const std::string& argument, matrix_view<const float> from,
                          const std::vector<std::int64_t>& at, double alpha, const offline::projectors& p,
                          std::size_t given) {
    support::exact_workspace space(given);
    EXPECT_TRUE(support::refused(offline::accumulate_projectors(
                                     serial_executor{}, from, at.empty() ? nullptr : at.data(), alpha, p, space.view()),
                                 code, argument));
    EXPECT_TRUE(memory.untouched() && space.untouched());
  };
  const std::vector<std::int64_t> at = {0, 4, 9};
  expect(status_code::null_pointer, "projectors.data", rows.read(), at, 1, {nullptr, 2, hidden}, bytes);
  expect(status_code::out_of_range, "projectors.experts", rows.read(), at, 1, {memory.data(), 0, hidden}, bytes);
  expect(status_code::out_of_range, "projectors.hidden", rows.read(), at, 1, {memory.data(), 2, 0}, bytes);
  expect(status_code::null_pointer, "rows", {nullptr, 9, hidden}, at, 1, good, bytes);
  expect(status_code::shape_mismatch, "rows", {rows.memory.data(), 9, hidden - 1}, at, 1, good, bytes);
  expect(status_code::null_pointer, "expert_offsets", rows.read(), {}, 1, good, bytes);
  for (const std::vector<std::int64_t>& bad :
       {std::vector<std::int64_t>{-1, 4, 9}, std::vector<std::int64_t>{0, 4, 10}, std::vector<std::int64_t>{0, 5, 4}})
    expect(status_code::out_of_range, "expert_offsets", rows.read(), bad, 1, good, bytes);
  for (double alpha : {0.0, -1.0, std::nan(""), HUGE_VAL})
    expect(status_code::out_of_range, "alpha", rows.read(), at, alpha, good, bytes);
  expect(status_code::workspace_too_small, "workspace", rows.read(), at, 1, good, bytes - 1);

  guarded_buffer<double> mean(hidden * hidden);
  EXPECT_TRUE(support::refused(offline::reset_projectors({memory.data(), 2, -1}), status_code::out_of_range,
                               "projectors.hidden"));
  EXPECT_TRUE(support::refused(offline::mean_of_other_projectors({memory.data(), 1, hidden}, 0, mean.data()),
                               status_code::out_of_range, "projectors.experts"));
  for (std::int32_t e : {-1, 2})
    EXPECT_TRUE(
        support::refused(offline::mean_of_other_projectors(good, e, mean.data()), status_code::out_of_range, "expert"));
  EXPECT_TRUE(support::refused(offline::mean_of_other_projectors(good, 0, nullptr), status_code::null_pointer, "mean"));
  stored_rows<float> weights(2, hidden);
  const auto refused_step = [&](matrix_view<float> w, matrix_view<const float> d, const double* p, double kappa,
                                status_code code, const char* argument) {
    EXPECT_TRUE(support::refused(offline::orthogonal_step(serial_executor{}, w, d, p, kappa), code, argument));
  };
  const matrix_view<const float> update(rows.memory.data(), 2, hidden);
  refused_step({nullptr, 2, hidden}, update, memory.data(), 1, status_code::null_pointer, "weights");
  refused_step(weights.view(), {nullptr, 2, hidden}, memory.data(), 1, status_code::null_pointer, "update");
  refused_step(weights.view(), {update.data, 1, hidden}, memory.data(), 1, status_code::shape_mismatch, "update");
  refused_step(weights.view(), update, nullptr, 1, status_code::null_pointer, "projector");
  refused_step(weights.view(), update, memory.data(), std::nan(""), status_code::out_of_range, "kappa");
  EXPECT_TRUE(memory.untouched() && mean.untouched() && weights.memory.untouched());
}

}  // namespace

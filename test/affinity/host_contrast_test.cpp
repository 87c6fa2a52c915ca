// SPDX-License-Identifier: Apache-2.0
#include <resonance/affinity/host_contrast.hpp>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/contrast_fixture.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using affinity::contrast_options;
using contrast_test::rows;
using support::serial;

constexpr float infinity = std::numeric_limits<float>::infinity();

template <class Row>
rows<float> run(const support::any_executor& executor, const rows<Row>& strong, const rows<Row>& weak,
                const contrast_options& o = {}) {
  rows<float> out(strong.rows, strong.cols, 3);
  EXPECT_TRUE(support::accepted(affinity::host_contrast_logits(executor, strong.read(), weak.read(), o, out.view())));
  EXPECT_TRUE(out.gaps_untouched(strong.rows));
  return out;
}

template <class Row>
class HostContrast : public ::testing::Test {
 protected:
  //! Logits that look like a model's, the weak ones like the strong ones.
  HostContrast() : random(71), strong_(5, 203, 2), weak_(5, 203) {
    strong_.fill_normal(random);
    for (std::int64_t t = 0; t < 5; ++t)
      for (std::int64_t i = 0; i < 203; ++i)
        permute_test::encode(static_cast<float>(permute_test::value_of(strong_.at(t, i)) + 0.5 * random.normal()),
                             weak_.at(t, i));
  }
  support::random_source random;
  rows<Row> strong_, weak_;
};
TYPED_TEST_SUITE(HostContrast, permute_test::row_types, );

TYPED_TEST(HostContrast, IsThePapersFormula) {
  for (std::int64_t tokens : {0, 1, 7, 33})
    for (std::int64_t count : {0, 1, 6, 17, 130, 1031})
      for (support::adversary kind : support::all_adversaries()) {
        rows<TypeParam> strong(tokens, count, 1, 1);
        rows<TypeParam> weak(tokens, count, 2);
        contrast_test::fill(this->random, kind, strong);
        contrast_test::fill(this->random, kind, weak);
        for (const contrast_options& o : {contrast_options{}, contrast_options{0.75F, 0.9F}, {1e-3F, 0.1F}}) {
          SCOPED_TRACE(::testing::Message() << tokens << "x" << count << " " << support::name_of(kind));
          contrast_test::expect_contrast(strong, weak, o.alpha, o.beta, run(serial(), strong, weak, o));
        }
      }
}

TYPED_TEST(HostContrast, HasTheSameBitsOnEveryExecutor) {
  rows<TypeParam> many(300, 203);
  rows<TypeParam> other(300, 203);
  contrast_test::fill(this->random, support::adversary::mixed, many);
  contrast_test::fill(this->random, support::adversary::mixed, other);
  const rows<float> once = run(serial(), many, other);
  support::with_every_executor([&](const auto& executor, const char* name) {
    EXPECT_TRUE(support::bits_of(run(executor, many, other).memory) == support::bits_of(once.memory)) << name;
  });
}

TYPED_TEST(HostContrast, OfAVocabulary) {
  rows<TypeParam> strong(2, 150000);
  rows<TypeParam> weak(2, 150000);
  strong.fill_normal(this->random);
  weak.fill_normal(this->random);
  contrast_test::expect_contrast(strong, weak, 0.1, 0.5, run(serial(), strong, weak));
}

// With beta = 0, and with weak logits that are the strong ones, what is valid keeps its bits.
TYPED_TEST(HostContrast, IsTheStrongLogitsWhereThereIsNoContrast) {
  contrast_options none;
  none.beta = 0;
  const rows<float> without_beta = run(serial(), this->strong_, this->weak_, none);
  const rows<float> without_difference = run(serial(), this->strong_, this->strong_);
  std::int64_t valid = 0;
  for (std::int64_t t = 0; t < 5; ++t)
    for (std::int64_t i = 0; i < 203; ++i) {
      EXPECT_EQ(without_beta.at(t, i), without_difference.at(t, i));
      if (without_beta.at(t, i) == -infinity) continue;
      EXPECT_EQ(static_cast<double>(without_beta.at(t, i)), permute_test::value_of(this->strong_.at(t, i)));
      ++valid;
    }
  EXPECT_GT(valid, 20);
  EXPECT_LT(valid, 5 * 203 / 2);
}

TYPED_TEST(HostContrast, IsValidForTheStrongArgmaxAndAtAlphaOneForNothingElse) {
  contrast_options only_best;
  only_best.alpha = 1;
  const rows<float> some = run(serial(), this->strong_, this->weak_);
  const rows<float> one = run(serial(), this->strong_, this->weak_, only_best);
  for (std::int64_t t = 0; t < 5; ++t) {
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < 203; ++i)
      if (permute_test::value_of(this->strong_.at(t, i)) > permute_test::value_of(this->strong_.at(t, best))) best = i;
    EXPECT_GT(some.at(t, best), -infinity);
    for (std::int64_t i = 0; i < 203; ++i) {
      const bool is_best =
          permute_test::value_of(this->strong_.at(t, i)) == permute_test::value_of(this->strong_.at(t, best));
      EXPECT_EQ(one.at(t, i) > -infinity, is_best) << t << " " << i;
    }
  }
}

// Logits are known up to a constant; multiples of 1/8 keep every sum exact.
TYPED_TEST(HostContrast, ConstantsMoveNoArgmaxAndNoBound) {
  const auto argmax = [](const rows<float>& z, std::int64_t t) {
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < z.cols; ++i)
      if (z.at(t, i) > z.at(t, best)) best = i;
    return best;
  };
  const auto shifted = [](const rows<TypeParam>& logits, float by) {
    rows<TypeParam> moved(logits.rows, logits.cols);
    for (std::int64_t t = 0; t < logits.rows; ++t)
      for (std::int64_t i = 0; i < logits.cols; ++i) {
        const auto eighths = std::round(8 * permute_test::value_of(logits.at(t, i)));
        permute_test::encode(static_cast<float>(eighths / 8) + by, moved.at(t, i));
      }
    return moved;
  };
  const rows<float> plain = run(serial(), shifted(this->strong_, 0), shifted(this->weak_, 0));
  const rows<float> strong_moved = run(serial(), shifted(this->strong_, -4.5F), shifted(this->weak_, 0));
  const rows<float> weak_moved = run(serial(), shifted(this->strong_, 0), shifted(this->weak_, 7));
  for (std::int64_t t = 0; t < 5; ++t) {
    EXPECT_EQ(argmax(strong_moved, t), argmax(plain, t));
    EXPECT_EQ(argmax(weak_moved, t), argmax(plain, t));
    for (std::int64_t i = 0; i < 203; ++i) {
      EXPECT_EQ(strong_moved.at(t, i) > -infinity, plain.at(t, i) > -infinity);
      EXPECT_EQ(weak_moved.at(t, i) > -infinity, plain.at(t, i) > -infinity);
    }
  }
}

TEST(HostContrastOfAbsentLogits, IsAbsentAndOtherwiseFinite) {
  const float nan = std::nanf("");
  rows<float> strong(2, 6);
  rows<float> weak(2, 6);
  const std::vector<float> of_strong = {infinity, FLT_MAX, nan, -infinity, FLT_MAX, FLT_MAX};
  const std::vector<float> of_weak = {-FLT_MAX, FLT_MAX, 0, 0, nan, -infinity};
  for (std::int64_t i = 0; i < 6; ++i) {
    strong.at(0, i) = of_strong[static_cast<std::size_t>(i)];
    strong.at(1, i) = i % 2 == 0 ? nan : -infinity;
    weak.at(0, i) = of_weak[static_cast<std::size_t>(i)];
    weak.at(1, i) = 0;
  }
  const rows<float> z = run(serial(), strong, weak);
  EXPECT_EQ(z.at(0, 0), FLT_MAX);
  EXPECT_EQ(z.at(0, 1), FLT_MAX);
  for (std::int64_t i = 2; i < 6; ++i) EXPECT_EQ(z.at(0, i), -infinity) << i;
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(z.at(1, i), -infinity) << i;
}

TYPED_TEST(HostContrast, NamesTheBadArgumentAndWritesNothing) {
  rows<float> out(5, 203);
  const matrix_view<const TypeParam> strong = this->strong_.read();
  const matrix_view<const TypeParam> weak = this->weak_.read();
  const auto expect = [&](status_code code, const std::string& argument, const contrast_options& o,
                          matrix_view<const TypeParam> s, matrix_view<const TypeParam> w, matrix_view<float> to) {
    EXPECT_TRUE(support::refused(affinity::host_contrast_logits(serial(), s, w, o, to), code, argument));
    EXPECT_TRUE(out.memory.untouched());
  };
  for (float alpha : {0.0F, -0.1F, 1.5F, 1e-40F, std::nanf("")})
    expect(status_code::out_of_range, "alpha", {alpha, 0.5F}, strong, weak, out.view());
  for (float beta : {-0.5F, infinity, std::nanf("")})
    expect(status_code::out_of_range, "beta", {0.1F, beta}, strong, weak, out.view());
  expect(status_code::null_pointer, "strong", {}, {nullptr, 5, 203}, weak, out.view());
  expect(status_code::null_pointer, "weak", {}, strong, {nullptr, 5, 203}, out.view());
  expect(status_code::null_pointer, "out", {}, strong, weak, {nullptr, 5, 203});
  expect(status_code::shape_mismatch, "weak", {}, strong, {weak.data, 4, 203}, out.view());
  expect(status_code::shape_mismatch, "weak", {}, strong, {weak.data, 5, 202, 203}, out.view());
  expect(status_code::shape_mismatch, "out", {}, strong, weak, {out.memory.data(), 5, 202, 203});
  expect(status_code::shape_mismatch, "out", {}, strong, weak, {out.memory.data(), 4, 203});
}

}  // namespace

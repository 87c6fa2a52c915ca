// SPDX-License-Identifier: Apache-2.0
// The library's score functions and the reference's, side by side.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/score.hpp>

#include "reference/score.hpp"
#include "support/random.hpp"

namespace reference_score {

using all = ::testing::Types<resonance::affinity::identity, resonance::affinity::softmax,
                             resonance::affinity::softmax_over_chosen, resonance::affinity::sigmoid,
                             resonance::affinity::sqrt_softplus, resonance::affinity::relu_softmax>;

template <class Score>
constexpr reference::score_function function_of() {
  namespace affinity = resonance::affinity;
  if (std::is_same<Score, affinity::identity>::value) return reference::score_function::identity;
  if (std::is_same<Score, affinity::softmax>::value) return reference::score_function::softmax;
  if (std::is_same<Score, affinity::softmax_over_chosen>::value) return reference::score_function::softmax_over_chosen;
  if (std::is_same<Score, affinity::sigmoid>::value) return reference::score_function::sigmoid;
  if (std::is_same<Score, affinity::sqrt_softplus>::value) return reference::score_function::sqrt_softplus;
  static_assert(std::is_base_of<affinity::score_function<Score>, Score>::value, "a score function of the library");
  return reference::score_function::relu_softmax;
}

struct names {
  template <class Score>
  static std::string GetName(int) {
    switch (function_of<Score>()) {
      case reference::score_function::identity: return "identity";
      case reference::score_function::softmax: return "softmax";
      case reference::score_function::softmax_over_chosen: return "softmax_over_chosen";
      case reference::score_function::sigmoid: return "sigmoid";
      case reference::score_function::sqrt_softplus: return "sqrt_softplus";
      case reference::score_function::relu_softmax: return "relu_softmax";
    }
    return "unknown";
  }
};

template <class Score>
reference::score_options options_of(const Score& score) {
  reference::score_options options;
  options.function = function_of<Score>();
  options.temperature = static_cast<double>(score.temperature);
  options.logit_cap = static_cast<double>(score.logit_cap);
  return options;
}

//! Affinities of which one in twenty is absent.
inline std::vector<float> random_delta(support::random_source& random, std::size_t count) {
  std::vector<float> delta = support::normal_values(random, count, 3);
  for (float& value : delta)
    if (random.coin(0.05)) value = random.coin() ? -HUGE_VALF : std::numeric_limits<float>::quiet_NaN();
  return delta;
}

//! Scores to a relative 1e-5; absent pairs stay absent.
inline void expect_scores(const std::vector<float>& scores, const std::vector<float>& delta,
                          const reference::matrix& expected) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!reference::choosable(static_cast<double>(delta[i])))
      ASSERT_EQ(scores[i], -HUGE_VALF) << i;
    else
      ASSERT_NEAR(scores[i], expected.values[i], 1e-5 * std::fabs(expected.values[i])) << i;
  }
}

}  // namespace reference_score

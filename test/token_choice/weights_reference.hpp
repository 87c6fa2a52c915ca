// SPDX-License-Identifier: Apache-2.0
// Weights of a ragged list, by the library and by the reference: to a relative 1e-5.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/score.hpp>
#include <resonance/core/views.hpp>
#include <resonance/token_choice/policies.hpp>

#include "affinity/reference_score.hpp"
#include "reference/token_choice.hpp"
#include "support/random.hpp"

namespace weights_reference {

//! A ragged list in which token t holds t mod (limit + 1) different experts, one slot in ten unassigned.
struct ragged_list {
  std::vector<std::int32_t> ids, token_of_slot;
  std::vector<std::int64_t> offsets = {0};
  resonance::assignment_view view;

  ragged_list(support::random_source& random, std::size_t tokens, std::size_t experts) {
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t e = 0; e < t % (experts + 1); ++e) {
        ids.push_back(static_cast<std::int32_t>(e));
        if (random.coin(0.1)) ids.back() = random.coin() ? -1 : static_cast<std::int32_t>(experts);
        token_of_slot.push_back(static_cast<std::int32_t>(t));
      }
      offsets.push_back(static_cast<std::int64_t>(ids.size()));
    }
    view.tokens = static_cast<std::int64_t>(tokens);
    view.experts = static_cast<std::int32_t>(experts);
    view.ids = ids.data();
    view.token_offsets = offsets.data();
    view.token_of_slot = token_of_slot.data();
  }
};

//! run(delta, list, options) gives the weights of every slot.
template <class Score, class Run>
void expect_reference(support::random_source& random, std::size_t tokens, const Score& score, bool renormalize,
                      const Run& run) {
  const std::size_t experts = 13;
  const ragged_list list(random, tokens, experts);
  std::vector<float> delta = reference_score::random_delta(random, tokens * experts);
  if (std::is_same<Score, resonance::affinity::identity>::value)
    for (float& value : delta) value = std::fabs(value) == HUGE_VALF ? value : std::fabs(value);
  resonance::token_choice::options o;
  o.renormalize = renormalize;
  o.routed_scaling_factor = 0.5F;
  const std::vector<float> weights = run(delta, list.view, o);
  const reference::score_options scoring = reference_score::options_of(score);
  const reference::matrix exact = reference::widened(delta, tokens, experts);
  const reference::matrix scores = reference::scores(exact, scoring);
  for (std::size_t t = 0; t < tokens; ++t) {
    const auto first = static_cast<std::size_t>(list.offsets[t]);
    const auto last = static_cast<std::size_t>(list.offsets[t + 1]);
    reference::id_table ids(1, last - first, -1);
    for (std::size_t s = first; s < last; ++s)
      if (reference::names_expert(list.ids[s], experts) &&
          reference::choosable(exact(t, static_cast<std::size_t>(list.ids[s]))))
        ids(0, s - first) = list.ids[s];
    reference::choice_options options;
    options.renormalize = renormalize;
    options.routed_scaling_factor = 0.5;
    const reference::matrix expected =
        reference::weights_of(ids, reference::matrix(1, experts, scores.row(t)), scoring.function, options);
    for (std::size_t s = first; s < last; ++s)
      ASSERT_NEAR(weights[s], expected(0, s - first), 1e-5 * std::fabs(expected(0, s - first))) << t << ' ' << s;
  }
}

}  // namespace weights_reference

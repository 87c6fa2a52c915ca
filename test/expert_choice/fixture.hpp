// SPDX-License-Identifier: Apache-2.0
// The rows that expert choice writes, and what the reference chooses beside them: ids exactly, scores to the bit.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "reference/expert_choice.hpp"
#include "resonance/expert_choice/options.hpp"
#include "support/assignments.hpp"

namespace expert_choice_test {

//! The rows of ids and scores that one run wrote, and whether it stayed inside them.
struct rows {
  support::guarded_buffer<std::int32_t> ids;
  support::guarded_buffer<float> scores;

  rows(std::int64_t experts, std::int64_t capacity)
      : ids(static_cast<std::size_t>(experts * capacity)), scores(static_cast<std::size_t>(experts * capacity)) {}
  resonance::expert_choice::outputs view() { return {ids.data(), scores.data()}; }
  bool intact() const { return ids.intact() && scores.intact(); }
  bool untouched() const { return ids.untouched() && scores.untouched(); }
  std::string bits() const { return support::bits_of(ids, scores); }
};

//! Ids as the reference has them, and beside every id the bits of its score.
inline void expect_rows(const rows& got, const reference::token_lists& expected, std::int64_t capacity,
                        const resonance::matrix_view<const float>& scores) {
  for (std::size_t e = 0; e < expected.size(); ++e) {
    for (std::size_t c = 0; c < static_cast<std::size_t>(capacity); ++c) {
      const std::size_t i = e * static_cast<std::size_t>(capacity) + c;
      const std::int32_t token = c < expected[e].size() ? expected[e][c] : -1;
      ASSERT_EQ(got.ids[i], token) << "expert " << e << " place " << c;
      const float score = token >= 0 ? scores.row(token)[e] : 0.0F;
      ASSERT_EQ(resonance::detail::float_bits(got.scores[i]), resonance::detail::float_bits(score))
          << "expert " << e << " place " << c;
    }
  }
}

//! Here and below choose(source, options) gives the rows. Capacities from one token to more than there are.
template <class Choose>
void expect_best_of_all_tokens(support::random_source& random, const support::batch_shape& s, support::adversary kind,
                               const Choose& choose) {
  SCOPED_TRACE(::testing::Message() << s << " " << support::name_of(kind));
  const std::int64_t stride = s.experts + 3;
  const std::vector<float> values =
      support::adversarial_values(random, static_cast<std::size_t>(s.tokens * stride), kind);
  const resonance::matrix_view<const float> scores(values.data(), s.tokens, s.experts, stride);
  const reference::matrix keys =
      reference::widened(values.data(), static_cast<std::size_t>(s.tokens), static_cast<std::size_t>(s.experts),
                         static_cast<std::size_t>(stride));
  for (const std::int64_t capacity : {std::int64_t{1}, s.tokens / 2 + 1, s.tokens + 3}) {
    resonance::expert_choice::options o;
    o.capacity = capacity;
    expect_rows(choose(scores, o), reference::expert_choice(keys, static_cast<std::size_t>(capacity)), capacity,
                scores);
  }
}

//! From a table of candidates and from its ragged copy.
template <class Choose>
void expect_best_of_candidates(support::random_source& random, const support::batch_shape& s, const Choose& choose) {
  SCOPED_TRACE(::testing::Message() << s);
  support::choice_traits traits;
  traits.duplicates = false;
  const support::random_choices choices(random, s, traits);
  const reference::id_table ids = choices.reference_ids();
  std::vector<float> scored = choices.delta;  // what the candidates' affinity says of +inf
  for (float& value : scored) value = resonance::choosable_score(value, resonance::row_traits<float>::largest);
  const resonance::matrix_view<const float> scores(scored.data(), s.tokens, s.experts);
  resonance::expert_choice::options o;
  o.capacity = s.tokens / 3 + 1;
  const reference::token_lists expected =
      reference::expert_choice(choices.reference_deltas(), static_cast<std::size_t>(o.capacity), &ids);
  expect_rows(choose(choices.view(), o), expected, o.capacity, scores);
  const support::ragged_copy ragged(choices.view(), random.coin());
  expect_rows(choose(ragged.view(), o), expected, o.capacity, scores);
}

}  // namespace expert_choice_test

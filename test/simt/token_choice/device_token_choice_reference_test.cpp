// SPDX-License-Identifier: Apache-2.0
// Token choice on the device against the reference: every policy, with a bias and without.
#include <algorithm>
#include <resonance/affinity/device_affinity.cuh>
#include <resonance/token_choice/device_token_choice.cuh>

#include "affinity/typed_rows.hpp"
#include "choice_case.hpp"
#include "token_choice/choice_reference.hpp"

namespace {

using namespace choice_case;

struct shape {
  std::size_t tokens, experts;
  std::int32_t top_k;
};

const shape shapes[] = {{0, 8, 2}, {1, 1, 1}, {33, 13, 1}, {33, 72, 8}, {257, 8, 2}, {9, 257, 8}, {5, 72, 40}};

template <class Row, class Score, class Selection>
void expect_reference(const std::vector<Row>& logits, std::size_t tokens, std::size_t experts, const Score& score,
                      const Selection& selection, const token_choice::options& o) {
  const auto rows = static_cast<std::int64_t>(tokens);
  const auto cols = static_cast<std::int64_t>(experts);
  const affinity::warp_source<affinity::logits, affinity::logits_input<Row>> source(
      {}, {matrix_view<const Row>(logits.data(), rows, cols)});
  tables out(rows, cols, o.top_k);
  run_on_device(source, score, selection, o, out);
  for (std::size_t i = 0; i < logits.size(); ++i)
    ASSERT_EQ(static_cast<double>(out.row[i]),
              reference::ranked_value(static_cast<double>(typed_rows::widened(logits[i]))))
        << "pair " << i;
  guarded_buffer<float> scores(tokens * experts);
  ASSERT_TRUE(support::accepted(
      affinity::device_scores(device_stream{}, score, {out.row.data(), rows, cols}, {scores.data(), rows, cols})));
  choice_reference::expect_reference({support::values_of(out.ids), support::values_of(out.weights),
                                      support::values_of(out.delta), support::values_of(out.row)},
                                     support::values_of(scores), tokens, experts, score, selection, o);
}

//! select(shape, check) calls check(policy) for the policies that a shape is to be chosen by.
template <class Row, class Score, class Select>
void expect_every_shape(const Score& score, std::uint64_t seed, const Select& select) {
  support::random_source random(seed);
  for (const shape& s : shapes) {
    const auto logits = choice_reference::random_logits<Row>(random, s.tokens * s.experts);
    const auto bias = support::normal_values(random, s.experts, 0.3);
    for (int variant = 0; variant < 4; ++variant) {
      SCOPED_TRACE(::testing::Message() << "variant " << variant);
      token_choice::options o;
      o.top_k = s.top_k;
      o.correction_bias = variant % 2 == 1 ? bias.data() : nullptr;
      o.renormalize = variant / 2 == 1;
      o.routed_scaling_factor = o.renormalize ? 2.5f : 1.0f;
      o.missing = o.renormalize ? token_choice::missing_choice::lowest_ids : token_choice::missing_choice::minus_one;
      select(s, [&](const auto& selection) { expect_reference(logits, s.tokens, s.experts, score, selection, o); });
    }
  }
}

TEST(DeviceTokenChoiceReference, TopK) {
  const auto best = [](const shape&, const auto& check) { check(token_choice::top_k{}); };
  expect_every_shape<float>(affinity::softmax{}, 11, best);
  expect_every_shape<bfloat16>(affinity::sigmoid{}, 12, best);
}

TEST(DeviceTokenChoiceReference, Grouped) {
  expect_every_shape<float>(affinity::sigmoid{}, 13, [](const shape& s, const auto& check) {
    token_choice::grouped_top_k groups;
    groups.n_group = s.experts % 8 == 0 ? 8 : 1;
    groups.topk_group = groups.n_group == 8 && s.top_k <= 8 ? 3 : groups.n_group;
    for (const auto by : {token_choice::group_score::sum_of_two_best, token_choice::group_score::best}) {
      groups.scored_by = by;
      check(groups);
    }
  });
}

TEST(DeviceTokenChoiceReference, TopP) {
  expect_every_shape<float>(affinity::softmax{}, 14, [](const shape&, const auto& check) {
    for (const double p : {0.3, 0.8, 1.0}) check(token_choice::top_p{p});
  });
}

TEST(DeviceTokenChoiceReference, Threshold) {
  expect_every_shape<float>(affinity::sigmoid{}, 17, [](const shape&, const auto& check) {
    for (const float above : {-1e30F, 0.0F, 1.0F, 1e30F}) check(token_choice::threshold{above});
  });
}

TEST(DeviceTokenChoiceReference, RankSet) {
  expect_every_shape<float>(affinity::softmax_over_chosen{}, 15, [](const shape& s, const auto& check) {
    const auto spare = static_cast<std::int32_t>(s.experts) - s.top_k;
    std::vector<std::int32_t> ranks;  // without the best, or this would be top_k
    for (std::int32_t k = 0; k < s.top_k; ++k) ranks.push_back(std::min(spare, 3) + k);
    check(token_choice::rank_set{ranks.data()});
  });
}

}  // namespace

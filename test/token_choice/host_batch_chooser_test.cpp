// SPDX-License-Identifier: Apache-2.0
// Sixteen tokens at a time against one by one: the same bits in every output.
#include "resonance/token_choice/host_batch_chooser.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "affinity/typed_rows.hpp"
#include "resonance/affinity/host_affinity.hpp"
#include "resonance/affinity/score.hpp"
#include "resonance/token_choice/host_token_choice.hpp"
#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

struct outputs {
  guarded_buffer<std::int32_t> ids;
  guarded_buffer<float> weights, affinity, table;

  outputs(std::int64_t tokens, std::int32_t experts, std::int32_t slots)
      : ids(static_cast<std::size_t>(tokens * slots)),
        weights(static_cast<std::size_t>(tokens * slots)),
        affinity(static_cast<std::size_t>(tokens * slots)),
        table(static_cast<std::size_t>(tokens * experts)) {}
  bool intact() const { return ids.intact() && weights.intact() && affinity.intact() && table.intact(); }
};

template <class Row>
struct batch_case {
  std::int64_t tokens;
  std::int32_t experts;
  std::int64_t stride;
  std::vector<Row> logits;

  batch_case(support::random_source& random, std::int64_t t, std::int32_t e, support::adversary kind)
      : tokens(t), experts(e), stride(e + 3), logits(static_cast<std::size_t>(t * (e + 3))) {
    for (Row& logit : logits)
      logit = row_traits<Row>::narrow(random.coin(0.5) ? static_cast<float>(random.normal())
                                                       : support::adversarial_value(random, kind));
  }
  matrix_view<const Row> view() const { return {logits.data(), tokens, experts, stride}; }
};

template <class Row, class Score, class Selection>
void expect_the_same(const batch_case<Row>& c, const Score& score, const Selection& selection,
                     const token_choice::options& o, bool with_table) {
  using source_type = affinity::host_source<affinity::logits, affinity::logits_input<Row>>;
  affinity::logits_input<Row> input;
  input.logits = c.view();
  const source_type source(affinity::logits{}, input);
  outputs batched(c.tokens, c.experts, o.top_k);
  outputs single(c.tokens, c.experts, o.top_k);
  const auto table_of = [&](outputs& out) {
    return with_table ? matrix_view<float>(out.table.data(), c.tokens, c.experts) : matrix_view<float>();
  };
  std::vector<char> memory(token_choice::host_token_choice_workspace_bytes(serial_executor{}, source));
  ASSERT_TRUE(token_choice::host_token_choice(serial_executor{}, source, score, selection, o,
                                              {batched.ids.data(), batched.weights.data(), batched.affinity.data()},
                                              table_of(batched), {memory.data(), memory.size()})
                  .ok());

  const token_choice::host_row_chooser<Score, Selection> chooser(score, selection, o, c.experts, source_type::largest);
  detail::workspace_carver carver(memory.data());
  token_choice::host_row_scratch scratch;
  scratch.carve(carver, c.experts, 1);
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    source.rows(t, 1, 0, scratch.delta, c.experts);
    const std::int64_t slot = t * o.top_k;
    chooser.choose(scratch.delta, scratch, single.ids.data() + slot, single.weights.data() + slot,
                   single.affinity.data() + slot);
    if (with_table)
      std::memcpy(single.table.data() + t * c.experts, scratch.delta,
                  sizeof(float) * static_cast<std::size_t>(c.experts));
  }
  EXPECT_TRUE(batched.intact());
  EXPECT_EQ(support::values_of(batched.ids), support::values_of(single.ids));
  EXPECT_EQ(support::bits_of(batched.weights), support::bits_of(single.weights));
  EXPECT_EQ(support::bits_of(batched.affinity), support::bits_of(single.affinity));
  EXPECT_EQ(support::bits_of(batched.table), support::bits_of(single.table));  // poison where there is none
}

template <class Row, class Score>
void expect_the_same(const batch_case<Row>& c, const Score& score, const token_choice::options& o, bool with_table) {
  expect_the_same(c, score, token_choice::top_k{}, o, with_table);
}

template <class Row>
class HostBatchChooser : public ::testing::Test {
 protected:
  void SetUp() override {
#if RESONANCE_DETAIL_AVX512
    if (!detail::has_avx512()) GTEST_SKIP() << "this processor has no AVX-512 with VBMI2";
#else
    GTEST_SKIP() << "built without AVX-512 kernels";
#endif
  }
};
TYPED_TEST_SUITE(HostBatchChooser, typed_rows::all, typed_rows::names);

TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsForEveryShape) {
  support::random_source random(611);
  for (const std::int32_t experts : {1, 2, 5, 15, 16, 17, 31, 33, 63, 64, 65, 72, 100, 128, 257, 512, 1000}) {
    for (std::int32_t k = 1; k <= 9 && k <= experts; ++k) {
      const batch_case<TypeParam> c(random, k % 2 == 0 ? 16 : 21, experts, support::adversary::mixed);
      token_choice::options o;
      o.top_k = k;
      o.renormalize = k % 3 != 0;
      o.routed_scaling_factor = 2.5f;
      SCOPED_TRACE(::testing::Message() << "E=" << experts << " K=" << k);
      expect_the_same(c, affinity::softmax{}, o, k % 4 == 0);
      expect_the_same(c, affinity::sigmoid{}, o, false);
    }
  }
}

TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsForHostileValues) {
  support::random_source random(612);
  for (const support::adversary kind : support::all_adversaries()) {
    for (const std::int64_t tokens : {1, 15, 16, 40}) {
      const batch_case<TypeParam> c(random, tokens, 96, kind);
      token_choice::options o;
      o.top_k = 8;
      o.missing = tokens == 15 ? token_choice::missing_choice::lowest_ids : token_choice::missing_choice::minus_one;
      SCOPED_TRACE(support::name_of(kind));
      expect_the_same(c, affinity::softmax_over_chosen{}, o, true);
      expect_the_same(c, affinity::sqrt_softplus{}, o, false);
    }
  }
}

// Rows of zeros of both signs, absent values and few choosable ones: where a batch leaves rows to others, and must.
TYPED_TEST(HostBatchChooser, LeavesToOthersWhatItCannotSettle) {
  support::random_source random(613);
  const std::vector<float> odd = {0.0f, -0.0f, std::nanf(""), -HUGE_VALF, HUGE_VALF, 1.0f};
  for (std::size_t kinds = 1; kinds <= odd.size(); ++kinds) {
    batch_case<TypeParam> c(random, 33, 40, support::adversary::ties);
    for (TypeParam& logit : c.logits)
      logit = row_traits<TypeParam>::narrow(odd[static_cast<std::size_t>(random.below(kinds))]);
    token_choice::options o;
    o.top_k = 5;
    o.renormalize = true;
    expect_the_same(c, affinity::softmax{}, o, false);
  }
}

// In one of 150 such rows more than sixteen values reach the eighth largest lane, and then a larger one has to do.
TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsWhereManyReachTheBound) {
  support::random_source random(618);
  batch_case<TypeParam> c(random, 1500, 256, support::adversary::mixed);
  for (TypeParam& logit : c.logits) logit = row_traits<TypeParam>::narrow(static_cast<float>(random.normal()));
  for (const std::int32_t k : {1, 2, 3, 4, 7, 8, 16}) {
    token_choice::options o;
    o.top_k = k;
    o.renormalize = true;
    expect_the_same(c, affinity::softmax{}, o, false);
  }
}

// More than eight slots take more lanes and places; where the last of them is, one more goes to others.
TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsForManySlots) {
  support::random_source random(614);
  for (const std::int32_t experts : {9, 16, 17, 32, 33, 48, 64, 72, 128, 257, 288, 512}) {
    for (const std::int32_t k : {9, 12, 16, 17, 24, 31, 32, 33}) {
      if (k > experts) continue;
      for (const support::adversary kind : {support::adversary::mixed, support::adversary::ties}) {
        const batch_case<TypeParam> c(random, k % 2 == 0 ? 32 : 19, experts, kind);
        token_choice::options o;
        o.top_k = k;
        o.renormalize = true;
        SCOPED_TRACE(::testing::Message() << "E=" << experts << " K=" << k);
        expect_the_same(c, affinity::softmax{}, o, false);
      }
    }
  }
}

// Three values: nearly every row of 64 reaches its bound everywhere, and the best stand anywhere.
TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsWhereAllReachTheBound) {
  support::random_source random(619);
  batch_case<TypeParam> c(random, 160, 64, support::adversary::ties);
  for (TypeParam& logit : c.logits)
    logit = row_traits<TypeParam>::narrow(random.coin(0.6) ? 0.0f : static_cast<float>(random.below(3)));
  for (const std::int32_t k : {24, 31, 32}) {
    token_choice::options o;
    o.top_k = k;
    o.renormalize = true;
    expect_the_same(c, affinity::softmax{}, o, false);
  }
}

std::vector<float> biases(support::random_source& random, std::int32_t experts, support::adversary kind) {
  std::vector<float> bias(static_cast<std::size_t>(experts));
  for (float& b : bias)
    b = random.coin(0.8) ? 0.1f * static_cast<float>(random.normal()) : support::adversarial_value(random, kind);
  return bias;
}

template <class Row, class Selection>
void expect_the_same_by_score(const batch_case<Row>& c, const Selection& selection, token_choice::options o,
                              const float* bias) {
  o.correction_bias = bias;
  expect_the_same(c, affinity::sigmoid{}, selection, o, o.top_k % 2 == 0);
  expect_the_same(c, affinity::sqrt_softplus{}, selection, o, false);
  expect_the_same(c, affinity::relu_softmax{}, selection, o, false);
  affinity::softmax scaled;
  scaled.temperature = 0.5f;
  scaled.logit_cap = 30.0f;
  o.renormalize = !o.renormalize;
  expect_the_same(c, scaled, selection, o, false);
}

TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsWithABias) {
  support::random_source random(615);
  for (const std::int32_t experts : {1, 8, 16, 40, 72, 129, 256}) {
    for (const std::int32_t k : {1, 2, 6, 8, 11}) {
      if (k > experts) continue;
      for (const support::adversary kind : support::all_adversaries()) {
        const batch_case<TypeParam> c(random, 21, experts, kind);
        token_choice::options o;
        o.top_k = k;
        o.renormalize = k != 2;
        o.routed_scaling_factor = 2.5f;
        SCOPED_TRACE(::testing::Message() << "E=" << experts << " K=" << k << ' ' << support::name_of(kind));
        expect_the_same_by_score(c, token_choice::top_k{}, o, biases(random, experts, kind).data());
      }
    }
  }
}

TYPED_TEST(HostBatchChooser, HasTheBitsOfSingleRowsWithGroups) {
  support::random_source random(616);
  struct grouping {
    std::int32_t experts, n_group, topk_group;
  };
  for (const grouping& g : {grouping{8, 2, 1},
                            {16, 16, 5},
                            {40, 5, 2},
                            {72, 3, 3},
                            {66, 33, 4},
                            {160, 8, 3},
                            {256, 8, 4},
                            {288, 9, 1},
                            {512, 32, 7}}) {
    for (const support::adversary kind : support::all_adversaries()) {
      for (const token_choice::group_score scored_by :
           {token_choice::group_score::sum_of_two_best, token_choice::group_score::best}) {
        const batch_case<TypeParam> c(random, 18, g.experts, kind);
        token_choice::grouped_top_k selection;
        selection.n_group = g.n_group;
        selection.topk_group = g.topk_group;
        selection.scored_by = scored_by;
        token_choice::options o;
        o.top_k = scored_by == token_choice::group_score::best ? 6 : 3;
        o.renormalize = true;
        SCOPED_TRACE(::testing::Message()
                     << "E=" << g.experts << " groups " << g.n_group << ' ' << support::name_of(kind));
        const std::vector<float> bias = biases(random, g.experts, kind);
        expect_the_same_by_score(c, selection, o, bias.data());
        expect_the_same_by_score(c, selection, o, nullptr);
      }
    }
  }
}

// A score of the user's own has none of the names that the batch looks for.
struct halved {
  using stage = stages::score;
  static constexpr normalizer normalized_over = normalizer::none;
  float argument(float delta) const { return delta * 0.5f; }
  float unbiased_key(float delta) const { return delta; }
  template <class DeltaAt, class NumeratorAt>
  softmax_terms numerators(std::int64_t, const DeltaAt&, const NumeratorAt&) const {
    return {};
  }
  constexpr status check() const { return {}; }
};

TYPED_TEST(HostBatchChooser, TakesScoresOfTheUsersOwn) {
  support::random_source random(617);
  const batch_case<TypeParam> c(random, 40, 100, support::adversary::mixed);
  const std::vector<float> bias = biases(random, 100, support::adversary::ties);
  token_choice::options o;
  o.top_k = 7;
  expect_the_same(c, halved{}, o, false);
  o.correction_bias = bias.data();
  expect_the_same(c, halved{}, o, true);
}

}  // namespace

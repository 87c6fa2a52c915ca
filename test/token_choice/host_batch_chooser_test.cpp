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

template <class Row, class Score>
void expect_the_same(const batch_case<Row>& c, const Score& score, const token_choice::options& o, bool with_table) {
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
  ASSERT_TRUE(token_choice::host_token_choice(serial_executor{}, source, score, token_choice::top_k{}, o,
                                              {batched.ids.data(), batched.weights.data(), batched.affinity.data()},
                                              table_of(batched), {memory.data(), memory.size()})
                  .ok());

  const token_choice::host_row_chooser<Score, token_choice::top_k> chooser(score, token_choice::top_k{}, o, c.experts,
                                                                           source_type::largest);
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

}  // namespace

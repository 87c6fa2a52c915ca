// SPDX-License-Identifier: Apache-2.0
#include <resonance/token_choice/host_token_choice.hpp>

#include <cfloat>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/typed_rows.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"
#include "token_choice/choice_reference.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;
using choice_reference::expect_reference;
using choice_reference::logits_source;
using choice_reference::random_logits;
using choice_reference::run;
using resonance::matrix_view;

const std::vector<std::size_t> expert_counts = {1, 6, 7, 13, 64, 72, 128, 257, 288, 512};

std::vector<std::int32_t> choice_counts(std::size_t experts) {
  std::vector<std::int32_t> result;
  for (std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{8}, std::size_t{22}, experts})
    if (k <= experts && (result.empty() || result.back() != static_cast<std::int32_t>(k)))
      result.push_back(static_cast<std::int32_t>(k));
  return result;
}

template <class Row>
class HostTokenChoice : public ::testing::Test {};
TYPED_TEST_SUITE(HostTokenChoice, typed_rows::all, typed_rows::names);

TYPED_TEST(HostTokenChoice, TopKAgreesWithTheReferenceForEveryShape) {
  support::random_source random(61);
  const affinity::softmax score;
  for (std::size_t experts : expert_counts)
    for (std::int32_t k : choice_counts(experts)) {
      token_choice::options o;
      o.top_k = k;
      const std::vector<TypeParam> logits = random_logits<TypeParam>(random, 17 * experts);
      expect_reference(logits_source(logits, 17, experts), score, token_choice::top_k{}, o);
      o.missing = token_choice::missing_choice::lowest_ids;
      o.renormalize = true;
      expect_reference(logits_source(logits, 17, experts), score, token_choice::top_k{}, o);
    }
  for (std::size_t tokens : {0, 1, 7, 33, 257}) {
    token_choice::options o;
    o.top_k = 8;
    const std::vector<TypeParam> logits = random_logits<TypeParam>(random, tokens * 72);
    expect_reference(logits_source(logits, tokens, 72), score, token_choice::top_k{}, o);
  }
}

TYPED_TEST(HostTokenChoice, PullsDeltasFromHiddenStatesLikeHostAffinity) {
  support::random_source random(63);
  const std::size_t tokens = 33, experts = 13, hidden = 130;
  const std::vector<TypeParam> x = typed_rows::narrowed<TypeParam>(support::normal_values(random, tokens * hidden));
  const std::vector<TypeParam> w = typed_rows::narrowed<TypeParam>(support::normal_values(random, experts * hidden));
  affinity::hidden_input<TypeParam> input;
  input.hidden = {x.data(), 33, 130};
  input.gate = {w.data(), 13, 130};
  input.experts = 13;
  token_choice::options o;
  o.top_k = 2;
  const auto check = [&](const auto& metric) {
    using metric_type = std::decay_t<decltype(metric)>;
    const affinity::host_source<metric_type, affinity::hidden_input<TypeParam>> source(metric, input);
    expect_reference(source, affinity::softmax{}, token_choice::top_k{}, o);
    std::vector<float> delta(tokens * experts);
    const support::any_executor serial = support::serial();
    std::vector<char> workspace(affinity::host_affinity_workspace_bytes(serial, metric, input));
    ASSERT_TRUE(affinity::host_affinity(serial, metric, input, matrix_view<float>(delta.data(), 33, 13),
                                        {workspace.data(), workspace.size()})
                    .ok());
    EXPECT_TRUE(typed_rows::same_bits(run(serial, source, affinity::softmax{}, token_choice::top_k{}, o).delta, delta));
  };
  check(affinity::cosine{});
  check(affinity::grouped_average_cosine{});
  if constexpr (std::is_same<TypeParam, float>::value) {
    check(affinity::dot{});
    check(affinity::grouped_average{});
  }
}

TYPED_TEST(HostTokenChoice, HasTheSameBitsOnEveryExecutor) {
  support::random_source random(64);
  const std::size_t tokens = 301, experts = 72;
  const std::vector<TypeParam> logits = random_logits<TypeParam>(random, tokens * experts);
  const std::vector<float> bias = support::normal_values(random, experts, 0.1);
  const std::vector<TypeParam> x = random_logits<TypeParam>(random, tokens * 193);
  affinity::hidden_input<TypeParam> input;
  input.hidden = {x.data(), 301, 193};
  input.experts = 72;
  const affinity::host_source<affinity::grouped_average_cosine, affinity::hidden_input<TypeParam>> grap({}, input);
  token_choice::options o;
  o.top_k = 8;
  o.correction_bias = bias.data();
  token_choice::grouped_top_k groups;
  groups.n_group = 8;
  groups.topk_group = 4;
  const auto check = [&](const auto& source, const auto& score, const auto& selection) {
    const auto serial = run(support::serial(), source, score, selection, o);
    support::with_every_executor([&](const auto& executor, const char* name) {
      const auto got = run(executor, source, score, selection, o);
      EXPECT_EQ(got.ids, serial.ids) << name;
      EXPECT_TRUE(typed_rows::same_bits(got.weights, serial.weights)) << name;
      EXPECT_TRUE(typed_rows::same_bits(got.affinity, serial.affinity)) << name;
      EXPECT_TRUE(typed_rows::same_bits(got.delta, serial.delta)) << name;
    });
  };
  check(logits_source(logits, tokens, experts), affinity::sigmoid{}, groups);
  check(logits_source(logits, tokens, experts), affinity::softmax{}, token_choice::top_p{0.8});
  check(grap, affinity::softmax{}, token_choice::top_k{});
}

TYPED_TEST(HostTokenChoice, GivesEveryWorkerScratchOfItsOwn) {
  const std::vector<TypeParam> logits(13);
  auto source = logits_source(logits, 1, 13);
  using scratch_type = resonance::detail::token_choice_scratch<decltype(source)>;
  support::guarded_buffer<char> workspace(scratch_type(source, 3, nullptr).bytes(), 5);
  const scratch_type scratch(source, 3, workspace.data());
  for (int worker = 0; worker < 3; ++worker) {
    const token_choice::host_row_scratch rows = scratch.of_worker(source, worker);
    const char mark = static_cast<char>(worker + 1);
    std::memset(rows.delta, mark, source.block * 13 * sizeof(float));
    for (void* piece : {static_cast<void*>(rows.score), static_cast<void*>(rows.numerator),
                        static_cast<void*>(rows.keys), static_cast<void*>(rows.group_keys)})
      std::memset(piece, mark, 13 * sizeof(float));
    for (std::uint64_t* piece : {rows.best, rows.candidates}) std::memset(piece, mark, 13 * sizeof(std::uint64_t));
  }
  EXPECT_TRUE(workspace.intact());
  for (int worker = 0; worker < 3; ++worker) {
    const token_choice::host_row_scratch rows = scratch.of_worker(source, worker);
    const std::uint64_t mark = 0x0101010101010101U * static_cast<std::uint64_t>(worker + 1);
    for (std::size_t e = 0; e < 13; ++e) {
      EXPECT_EQ(rows.keys[e], static_cast<std::uint32_t>(mark));
      EXPECT_EQ(rows.group_keys[e], static_cast<std::uint32_t>(mark));
      EXPECT_EQ(rows.best[e], mark);
      EXPECT_EQ(rows.candidates[e], mark);
      EXPECT_EQ(resonance::detail::float_bits(rows.score[e]), static_cast<std::uint32_t>(mark));
      EXPECT_EQ(resonance::detail::float_bits(rows.numerator[e]), static_cast<std::uint32_t>(mark));
    }
    for (std::size_t i = 0; i < source.block * 13; ++i)
      EXPECT_EQ(resonance::detail::float_bits(rows.delta[i]), static_cast<std::uint32_t>(mark));
  }
}

//! The optional outputs change nothing in the others.
TYPED_TEST(HostTokenChoice, WritesOnlyWhatIsAskedFor) {
  support::random_source random(65);
  const std::vector<TypeParam> logits = random_logits<TypeParam>(random, 33 * 13);
  const auto source = logits_source(logits, 33, 13);
  token_choice::options o;
  o.top_k = 5;
  const auto all = run(support::serial(), source, affinity::softmax{}, token_choice::top_k{}, o);
  std::vector<char> workspace(token_choice::host_token_choice_workspace_bytes(support::serial(), source));
  support::guarded_buffer<std::int32_t> ids(33 * 5);
  support::guarded_buffer<float> weights(33 * 5);
  for (bool weighted : {false, true}) {
    ids.repoison();
    ASSERT_TRUE(token_choice::host_token_choice(support::serial(), source, affinity::softmax{}, token_choice::top_k{},
                                                o, {ids.data(), weighted ? weights.data() : nullptr, nullptr}, {},
                                                {workspace.data(), workspace.size()})
                    .ok());
    EXPECT_TRUE(typed_rows::same_bits(ids, all.ids));
    EXPECT_TRUE(ids.intact());
  }
  EXPECT_TRUE(typed_rows::same_bits(weights, all.weights));

  support::guarded_buffer<float> delta(33 * 17);
  ASSERT_TRUE(token_choice::host_token_choice(support::serial(), source, affinity::softmax{}, token_choice::top_k{}, o,
                                              {ids.data(), nullptr, nullptr},
                                              matrix_view<float>(delta.data(), 33, 13, 17),
                                              {workspace.data(), workspace.size()})
                  .ok());
  for (std::size_t t = 0; t < 33; ++t) {
    for (std::size_t e = 0; e < 13; ++e) EXPECT_EQ(delta[t * 17 + e], all.delta[t * 13 + e]);
    EXPECT_TRUE(delta.untouched(t * 17 + 13, 4));
  }
}

TYPED_TEST(HostTokenChoice, ReadsAffinityBackWithNanAbsentAndInfinityFinite) {
  const std::vector<TypeParam> logits =
      typed_rows::narrowed<TypeParam>({HUGE_VALF, std::numeric_limits<float>::quiet_NaN(), -HUGE_VALF, 1.0F});
  token_choice::options o;
  o.top_k = 4;
  const auto got = run(support::serial(), logits_source(logits, 1, 4), affinity::identity{}, token_choice::top_k{}, o);
  const auto largest = static_cast<float>(typed_rows::largest<TypeParam>());
  EXPECT_EQ(got.delta, (std::vector<float>{largest, -HUGE_VALF, -HUGE_VALF, 1.0F}));
  EXPECT_EQ(got.ids, (std::vector<std::int32_t>{0, 3, -1, -1}));
  EXPECT_EQ(got.affinity, (std::vector<float>{largest, 1.0F, -HUGE_VALF, -HUGE_VALF}));
  EXPECT_EQ(got.weights, (std::vector<float>{largest, 1.0F, 0.0F, 0.0F}));
}

//! Ids alone: under adversarial scores the weights of some functions leave the range of fp32.
TEST(HostTokenChoiceAdversarial, IdsAgreeWithTheReferenceForEveryKindOfScore) {
  support::random_source random(66);
  for (support::adversary kind : support::all_adversaries())
    for (std::size_t experts : {1, 6, 64, 257}) {
      const std::vector<float> logits = support::adversarial_values(random, 33 * experts, kind);
      const std::vector<float> bias = support::adversarial_values(random, experts, kind);
      const auto source = logits_source(logits, 33, experts);
      const auto check = [&](const auto& score, const auto& selection, const token_choice::options& o) {
        const auto got = run(support::serial(), source, score, selection, o);
        reference::id_table unfilled;
        const auto scores = choice_reference::host_scores(got.delta, 33, experts, score);
        const auto expected =
            choice_reference::expected_choices(got.delta, scores, 33, experts, score, selection, o, unfilled);
        ASSERT_EQ(got.ids, expected.ids.values)
            << support::name_of(kind) << " E " << experts << " bias " << (o.correction_bias != nullptr);
      };
      for (const float* b : {static_cast<const float*>(nullptr), bias.data()}) {
        token_choice::options o;
        o.top_k = static_cast<std::int32_t>(experts < 8 ? experts : 8);
        o.correction_bias = b;
        token_choice::grouped_top_k groups;
        groups.n_group = experts % 2 == 0 ? 2 : 1;
        check(affinity::identity{}, token_choice::top_k{}, o);
        check(affinity::softmax{}, token_choice::top_k{}, o);
        check(affinity::sigmoid{}, token_choice::top_k{}, o);
        check(affinity::identity{}, groups, o);
        check(affinity::softmax{}, groups, o);
        o.missing = token_choice::missing_choice::lowest_ids;
        check(affinity::relu_softmax{}, token_choice::top_k{}, o);
      }
    }
}

TEST(HostTokenChoiceEdges, AGroupWhoseTwoBestOverflowStaysChoosable) {
  const std::vector<float> logits(4, -FLT_MAX);
  token_choice::grouped_top_k groups;
  groups.n_group = 2;
  groups.topk_group = 1;
  token_choice::options o;
  o.top_k = 2;
  const auto got = run(support::serial(), logits_source(logits, 1, 4), affinity::identity{}, groups, o);
  EXPECT_EQ(got.ids, (std::vector<std::int32_t>{0, 1}));
}

//! SEMANTICS 1: +inf counts as the largest finite value, so its token has weights like any other.
TEST(HostTokenChoiceEdges, AnInfiniteLogitKeepsItsWeightAtAnyTemperature) {
  const std::vector<float> logits = {0.0F, HUGE_VALF, 1.0F, -FLT_MAX};
  token_choice::options o;
  o.top_k = 2;
  const auto check = [&](auto score) {
    for (bool renormalize : {false, true}) {
      o.renormalize = renormalize;
      score.temperature = 0.5F;
      const auto got = run(support::serial(), logits_source(logits, 1, 4), score, token_choice::top_k{}, o);
      EXPECT_EQ(got.ids, (std::vector<std::int32_t>{1, 2}));
      EXPECT_EQ(got.weights, (std::vector<float>{1.0F, 0.0F}));
    }
  };
  check(affinity::softmax{});
  check(affinity::softmax_over_chosen{});
  check(affinity::relu_softmax{});
}

TEST(HostTokenChoiceEdges, TopPCutsExactlyWhereTheMassIsReached) {
  const std::vector<float> logits(8, 0.75F);
  token_choice::options o;
  o.top_k = 8;
  const auto kept = [&](double p) {
    int count = 0;
    for (std::int32_t id :
         run(support::serial(), logits_source(logits, 1, 8), affinity::softmax{}, token_choice::top_p{p}, o).ids)
      count += id >= 0 ? 1 : 0;
    return count;
  };
  EXPECT_EQ(kept(1e-9), 1);
  EXPECT_EQ(kept(0.125), 1);
  EXPECT_EQ(kept(0.1251), 2);
  EXPECT_EQ(kept(0.5), 4);
  EXPECT_EQ(kept(0.99), 8);
  EXPECT_EQ(kept(1.0), 8);
}

TEST(HostTokenChoiceEdges, LowestIdsFillWhatTopPCutAtWeightZero) {
  const std::vector<float> logits = {0.0F, 1.0F, 90.0F, 2.0F};
  token_choice::options o;
  o.top_k = 3;
  o.missing = token_choice::missing_choice::lowest_ids;
  const auto got =
      run(support::serial(), logits_source(logits, 1, 4), affinity::softmax{}, token_choice::top_p{0.5}, o);
  EXPECT_EQ(got.ids, (std::vector<std::int32_t>{2, 0, 1}));
  EXPECT_EQ(got.weights, (std::vector<float>{1.0F, 0.0F, 0.0F}));
  EXPECT_EQ(got.affinity, (std::vector<float>{90.0F, -HUGE_VALF, -HUGE_VALF}));
}

TEST(HostTokenChoiceEdges, ABiasMovesTheChoiceAndNotTheWeight) {
  const std::vector<float> logits = {2.0F, 1.0F, 0.0F};
  std::vector<float> bias = {0.0F, 0.0F, 10.0F};
  token_choice::options o;
  o.correction_bias = bias.data();
  const auto choose = [&] {
    return run(support::serial(), logits_source(logits, 1, 3), affinity::sigmoid{}, token_choice::top_k{}, o);
  };
  EXPECT_EQ(choose().ids[0], 2);
  EXPECT_EQ(choose().weights[0], 0.5F);
  EXPECT_EQ(choose().affinity[0], 0.0F);
  for (float never : {-HUGE_VALF, std::numeric_limits<float>::quiet_NaN()}) {
    bias[2] = never;
    EXPECT_EQ(choose().ids[0], 0) << never;
  }
}

TEST(HostTokenChoice, TheThresholdItselfIsNotAboveIt) {
  const std::vector<float> logits = {2.0F, 3.0F, 1.0F, 2.5F};
  token_choice::options o;
  o.top_k = 3;
  EXPECT_EQ(
      run(support::serial(), logits_source(logits, 1, 4), affinity::sigmoid{}, token_choice::threshold{2.0F}, o).ids,
      (std::vector<std::int32_t>{1, 3, -1}));
  const std::vector<float> bias = {9.0F, 0.0F, 9.0F, 1.0F};
  o.correction_bias = bias.data();
  EXPECT_EQ(
      run(support::serial(), logits_source(logits, 1, 4), affinity::sigmoid{}, token_choice::threshold{2.0F}, o).ids,
      (std::vector<std::int32_t>{3, 1, -1}));
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include "resonance/prune/host_prune_choices.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "prune/choices_reference.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using choices_reference::table;
using support::guarded_buffer;

struct pruned_choices {
  guarded_buffer<std::int32_t> ids;
  guarded_buffer<float> weights;
  guarded_buffer<std::int64_t> count{1};
  explicit pruned_choices(std::size_t slots) : ids(slots), weights(slots) {}
  bool intact() const { return ids.intact() && weights.intact() && count.intact(); }
  bool untouched() const { return ids.untouched() && weights.untouched() && count.untouched(); }
  prune::choice_outputs outputs() { return {ids.data(), weights.data(), count.data()}; }
};

assignment_view view_of(const table& t) {
  assignment_view v;
  v.tokens = static_cast<std::int64_t>(t.tokens);
  v.experts = t.experts;
  v.slots_per_token = static_cast<std::int32_t>(t.top_k);
  v.ids = t.ids.data();
  v.weights = t.weights.data();
  return v;
}

template <class Rule>
pruned_choices run(const table& t, const Rule& rule, bool use_protection = false, bool renormalize = false,
                   const support::any_executor& executor = support::serial()) {
  pruned_choices out(t.ids.size());
  EXPECT_TRUE(support::accepted(prune::host_prune_choices(executor, rule, view_of(t),
                                                          use_protection ? t.protected_tokens.data() : nullptr,
                                                          prune::choice_options{renormalize}, out.outputs())));
  EXPECT_TRUE(out.intact());
  return out;
}

TEST(HostPruneChoices, AgreesWithTheReferenceOnEveryExecutor) {
  support::random_source random(1);
  for (const std::size_t tokens : {0, 1, 7, 257, 4099}) {
    for (const std::size_t top_k : {1, 2, 3, 8}) {
      const table t(random, tokens, top_k);
      for (const bool use_protection : {false, true}) {
        for (const bool renormalize : {false, true}) {
          SCOPED_TRACE(::testing::Message()
                       << "T=" << tokens << " K=" << top_k << " " << use_protection << renormalize);
          const float mu = 0.6F;
          const prune::sensitivity sensitive{0.005F, 0.1F};
          const auto by_ratio = choices_reference::prune(t, true, mu, use_protection, renormalize);
          const auto by_sum = choices_reference::prune(t, false, std::sqrt(0.05), use_protection, renormalize);
          support::with_every_executor([&](const auto& executor, const char* name) {
            SCOPED_TRACE(name);
            const auto ratio = run(t, prune::weight_ratio{mu}, use_protection, renormalize, executor);
            choices_reference::expect_same(t, by_ratio, ratio.ids, ratio.weights, ratio.count[0]);
            const auto sum = run(t, sensitive, use_protection, renormalize, executor);
            choices_reference::expect_same(t, by_sum, sum.ids, sum.weights, sum.count[0]);
          });
        }
      }
    }
  }
}

TEST(HostPruneChoices, NothingIsBelowABoundOfZero) {
  support::random_source random(2);
  const table t(random, 257, 2, 0.0);
  for (const auto& out : {run(t, prune::weight_ratio{0.0F}), run(t, prune::sensitivity{0.0F, 46.7F})}) {
    EXPECT_EQ(support::values_of(out.ids), t.ids);
    EXPECT_EQ(support::values_of(out.weights), t.weights);
    EXPECT_EQ(out.count[0], 0);
  }
}

TEST(HostPruneChoices, AboveOneOnlyTheProtectedKeepASecondChoice) {
  support::random_source random(3);
  table t(random, 301, 2, 0.0);
  std::int64_t unprotected = 0;
  for (std::size_t i = 0; i < t.tokens; ++i) {
    t.weights[2 * i + 1] = t.weights[2 * i] * static_cast<float>(random.uniform());
    unprotected += t.protected_tokens[i] == 0 ? 1 : 0;
  }
  for (const float mu : {1.0001F, std::numeric_limits<float>::infinity()}) {
    const auto out = run(t, prune::weight_ratio{mu}, true, true);
    EXPECT_EQ(out.count[0], unprotected);
    for (std::size_t i = 0; i < t.tokens; ++i) {
      EXPECT_EQ(out.ids[2 * i], t.ids[2 * i]);
      EXPECT_EQ(out.ids[2 * i + 1], t.protected_tokens[i] != 0 ? t.ids[2 * i + 1] : -1);
      if (t.protected_tokens[i] == 0) {
        EXPECT_EQ(out.weights[2 * i], 1.0F);  // a lone survivor, exactly
        EXPECT_EQ(out.weights[2 * i + 1], 0.0F);
      }
    }
  }
}

// a = r / (1 + r) < theta iff r < theta / (1 - theta).
TEST(HostPruneChoices, TheTwoRulesAreOneOnTwoChoices) {
  support::random_source random(4);
  std::int64_t decided = 0;
  for (const float loss : {0.0F, 0.001F, 0.003F, 0.005F, 0.007F, 0.01F, 0.013F, 1.0F}) {
    for (const float layer : {46.7F, 1.0F, 0.1F, 0.02F}) {
      const prune::sensitivity rule{loss, layer};
      const prune::weight_ratio ratio = rule.equivalent_ratio();
      const double theta = std::sqrt(static_cast<double>(loss) / static_cast<double>(layer));
      if (theta < 1) {
        EXPECT_NEAR(ratio.mu, theta / (1 - theta), 1e-5 * ratio.mu);
      } else {
        EXPECT_EQ(ratio.mu, std::numeric_limits<float>::infinity());
      }
      const table t(random, 500, 2);
      if (choices_reference::prune(t, false, theta, false, false).near_a_bound) continue;
      const auto by_share = run(t, rule, true, true);
      const auto by_ratio = run(t, ratio, true, true);
      EXPECT_EQ(support::bits_of(by_share.ids, by_share.weights, by_share.count),
                support::bits_of(by_ratio.ids, by_ratio.weights, by_ratio.count));
      decided += by_share.count[0];
    }
  }
  EXPECT_GT(decided, 1000);
}

TEST(HostPruneChoices, AShareEqualToTheBoundStays) {
  support::random_source random(9);
  table t(random, 0, 2);
  t.tokens = 2;
  t.ids = {1, 2, 3, 4};
  t.weights = {1.0F, 0.5F, 1.0F, 0.49999997F};
  EXPECT_EQ(support::values_of(run(t, prune::weight_ratio{0.5F}).ids), (std::vector<std::int32_t>{1, 2, 3, -1}));
  t.weights = {3.0F, 1.0F, 3.0F, 0.9999999F};
  EXPECT_EQ(support::values_of(run(t, prune::sensitivity{1.0F, 16.0F}).ids), (std::vector<std::int32_t>{1, 2, 3, -1}));
}

// Weights of 0 or less say nothing about the others; NaN is below nothing; the first assigned slot leads.
TEST(HostPruneChoices, OddWeightsDropNothingByAccident) {
  support::random_source random(5);
  table t(random, 0, 2);
  t.tokens = 5;
  t.ids = {1, 2, 3, 4, -1, 5, 6, 7, 8, 9};
  const float nan = std::nanf("");
  t.weights = {0.0F, 0.0F, 0.5F, nan, 0.0F, 0.2F, 0.0F, 0.5F, -1.0F, 0.5F};
  for (const auto& out :
       {run(t, prune::weight_ratio{0.9F}, false, false), run(t, prune::sensitivity{0.5F, 0.7F}, false, false)}) {
    EXPECT_EQ(support::values_of(out.ids), t.ids);
    EXPECT_EQ(out.count[0], 0);
    EXPECT_EQ(out.weights[5], 0.2F);
  }
}

TEST(HostPruneChoices, WorksInPlaceAndOnRaggedLists) {
  support::random_source random(6);
  const support::random_choices c(random, {257, 13, 4}, {support::adversary::ties, 0.2, true});
  pruned_choices regular(c.slots());
  const auto prune_it = [](const assignment_view& a, const prune::choice_outputs& out) {
    EXPECT_TRUE(support::accepted(
        prune::host_prune_choices(support::serial(), prune::weight_ratio{0.5F}, a, nullptr, {true}, out)));
  };
  prune_it(c.view(), regular.outputs());
  ASSERT_GT(regular.count[0], 50);

  support::random_choices own = c;
  std::int64_t count = 0;
  prune_it(own.view(), {own.ids.data(), own.weights.data(), &count});
  EXPECT_EQ(own.ids, support::values_of(regular.ids));
  EXPECT_EQ(own.weights, support::values_of(regular.weights));
  EXPECT_EQ(count, regular.count[0]);

  const support::ragged_copy ragged(c.view(), false);
  pruned_choices out(ragged.ids.size());
  prune_it(ragged.view(), out.outputs());
  EXPECT_EQ(out.count[0], regular.count[0]);
  std::size_t next = 0;
  for (std::size_t slot = 0; slot < c.slots(); ++slot) {
    if (!c.view().assigned(static_cast<std::int64_t>(slot))) continue;
    EXPECT_EQ(out.ids[next], regular.ids[slot]);
    EXPECT_EQ(out.weights[next++], regular.weights[slot]);
  }
}

TEST(HostPruneChoices, TheCountMayBeLeftOut) {
  support::random_source random(7);
  const table t(random, 33, 2);
  pruned_choices out(t.ids.size());
  EXPECT_TRUE(support::accepted(prune::host_prune_choices(support::serial(), prune::weight_ratio{0.5F}, view_of(t),
                                                          nullptr, {}, {out.ids.data(), out.weights.data(), nullptr})));
  EXPECT_TRUE(out.count.untouched());
}

TEST(HostPruneChoicesErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(8);
  const table t(random, 33, 2);
  pruned_choices out(t.ids.size());
  const auto expect = [&](const auto& rule, const assignment_view& a, const prune::choice_outputs& to, status_code code,
                          const std::string& argument) {
    EXPECT_TRUE(
        support::refused(prune::host_prune_choices(support::serial(), rule, a, nullptr, {}, to), code, argument));
    EXPECT_TRUE(out.untouched()) << argument;
  };
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  const auto expect_rule = [&](const auto& rule, const char* argument) {
    expect(rule, view_of(t), out.outputs(), status_code::out_of_range, argument);
  };
  expect_rule(prune::weight_ratio{nan}, "mu");
  expect_rule(prune::weight_ratio{-0.1F}, "mu");
  expect_rule(prune::sensitivity{nan, 1.0F}, "tolerated_loss");
  expect_rule(prune::sensitivity{-1.0F, 1.0F}, "tolerated_loss");
  expect_rule(prune::sensitivity{infinity, 1.0F}, "tolerated_loss");
  expect_rule(prune::sensitivity{1.0F, 0.0F}, "layer_sensitivity");
  expect_rule(prune::sensitivity{1.0F, nan}, "layer_sensitivity");
  expect_rule(prune::sensitivity{1.0F, infinity}, "layer_sensitivity");
  const prune::weight_ratio rule{0.5F};
  assignment_view a = view_of(t);
  a.ids = nullptr;
  expect(rule, a, out.outputs(), status_code::null_pointer, "assignments.ids");
  a = view_of(t);
  a.weights = nullptr;
  expect(rule, a, out.outputs(), status_code::null_pointer, "assignments.weights");
  a = view_of(t);
  a.slots_per_token = 0;
  expect(rule, a, out.outputs(), status_code::out_of_range, "assignments.slots_per_token");
  expect(rule, view_of(t), {nullptr, out.weights.data(), nullptr}, status_code::null_pointer, "ids");
  expect(rule, view_of(t), {out.ids.data(), nullptr, nullptr}, status_code::null_pointer, "weights");
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// MoMa from modality ids to experts, against the paper's definition in plain code.
#include "resonance/catalogue/moma.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "catalogue/ragged_route.hpp"
#include "resonance/permute/host_permute.hpp"
#include "resonance/plan/host_plan.hpp"
#include "resonance/token_choice/host_weights.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using catalogue_test::ragged_route;

struct batch {
  static constexpr std::int64_t tokens = 96;
  static constexpr std::int32_t modalities = 2;
  static constexpr std::int32_t experts = 4;  // of each modality; the same number keeps the test short

  explicit batch(std::uint64_t seed, bool one_modality = false) {
    support::random_source random(seed);
    for (std::int64_t t = 0; t < tokens; ++t) modality.push_back(one_modality || random.coin(0.6) ? 0 : 1);
    logits = support::normal_values(random, static_cast<std::size_t>(tokens * experts));
  }

  std::vector<std::int32_t> modality;
  std::vector<float> logits;  // of the token's own modality's gate
};

//! Tokens by modality: the plan over modality ids, and the logits in its order.
struct partition {
  std::vector<std::int32_t> offsets, row_to_token, token_to_row;
  std::vector<float> logits;

  explicit partition(const batch& b)
      : offsets(batch::modalities + 1), row_to_token(batch::tokens), token_to_row(batch::tokens) {
    const serial_executor executor;
    assignment_view a;
    a.tokens = batch::tokens;
    a.experts = batch::modalities;
    a.slots_per_token = 1;
    a.ids = b.modality.data();
    std::int64_t num_rows[2];
    plan::outputs<> out;
    out.expert_offsets = offsets.data();
    out.sorted_token_ids = row_to_token.data();
    out.inverse = token_to_row.data();
    out.num_rows = num_rows;
    support::exact_workspace workspace(plan::host_plan_workspace_bytes(executor, a, plan::options{}));
    EXPECT_TRUE(support::accepted(plan::host_plan(executor, a, plan::options{}, out, workspace.view())));
    logits.resize(b.logits.size());
    permute::row_plan<> rows;
    rows.assignments = a;
    rows.sorted_token_ids = row_to_token.data();
    rows.inverse = token_to_row.data();
    rows.num_rows = num_rows[0];
    const matrix_view<const float> from{b.logits.data(), batch::tokens, batch::experts};
    const matrix_view<float> to{logits.data(), batch::tokens, batch::experts};
    EXPECT_TRUE(support::accepted(permute::host_permute(executor, from, rows, to)));
  }

  affinity::logits_input<> group(std::size_t modality) const {
    return {{logits.data() + std::int64_t{offsets[modality]} * batch::experts,
             offsets[modality + 1] - offsets[modality], batch::experts}};
  }
};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

//! The tokens of modality m that expert e takes: the best ceil(c b_m / E_m) by sigmoid.
std::vector<std::int64_t> taken_by(const batch& b, std::int32_t m, std::size_t e, double capacity_factor) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t t = 0; t < batch::tokens; ++t)
    if (b.modality[static_cast<std::size_t>(t)] == m) tokens.push_back(t);
  const auto logit = [&](std::int64_t t) { return b.logits[static_cast<std::size_t>(t) * batch::experts + e]; };
  const auto capacity = static_cast<std::size_t>(std::ceil(capacity_factor * static_cast<double>(tokens.size()) / 4.0));
  std::stable_sort(tokens.begin(), tokens.end(), [&](std::int64_t a, std::int64_t c) { return logit(a) > logit(c); });
  tokens.resize(std::min(capacity, tokens.size()));
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

TEST(Catalogue, MomaExpertsTakeTheBestTokensOfTheirModality) {
  const batch b(31);
  const partition p(b);
  for (const double factor : {1.0, 0.5}) {
    for (std::int32_t m = 0; m < batch::modalities; ++m) {
      const ragged_route r(p.group(static_cast<std::size_t>(m)), catalogue::moma_experts(factor));
      for (std::int32_t e = 0; e < batch::experts; ++e) {
        std::vector<std::int64_t> tokens = r.tokens_of(e);
        for (std::int64_t& t : tokens)
          t = p.row_to_token[static_cast<std::size_t>(t + p.offsets[static_cast<std::size_t>(m)])];
        EXPECT_EQ(tokens, taken_by(b, m, static_cast<std::size_t>(e), factor)) << "modality " << m << " expert " << e;
      }
      for (std::size_t i = 0; i < r.ids.size() && static_cast<std::int64_t>(i) < r.offsets.back(); ++i)
        EXPECT_NEAR(r.weights[i], sigmoid(static_cast<double>(r.affinity[i])), 1e-6);
    }
  }
}

TEST(Catalogue, MomaWithOneModalityIsPlainExpertChoice) {
  const batch b(32, true);
  const partition p(b);
  EXPECT_EQ(p.logits, b.logits);
  const ragged_route group(p.group(0), catalogue::moma_experts());
  const ragged_route plain(affinity::logits_input<>{{b.logits.data(), batch::tokens, batch::experts}},
                           catalogue::moma_experts());
  EXPECT_EQ(group.ids, plain.ids);
  EXPECT_EQ(group.weights, plain.weights);
  EXPECT_EQ(group.offsets.back(), batch::tokens);  // b_M slots, since c_e = 1 / E_M
}

TEST(Catalogue, MomaFollowsAPermutationOfTheBatch) {
  const batch b(33);
  batch turned = b;
  std::reverse(turned.modality.begin(), turned.modality.end());
  for (std::int64_t t = 0; t < batch::tokens; ++t)
    std::copy_n(b.logits.begin() + (batch::tokens - 1 - t) * batch::experts, batch::experts,
                turned.logits.begin() + t * batch::experts);
  const partition p(b), q(turned);
  for (std::size_t m = 0; m < batch::modalities; ++m) {
    const ragged_route r(p.group(m), catalogue::moma_experts()), s(q.group(m), catalogue::moma_experts());
    for (std::int32_t e = 0; e < batch::experts; ++e) {
      std::vector<std::int64_t> there;
      for (const std::int64_t t : s.tokens_of(e))
        there.push_back(batch::tokens - 1 - q.row_to_token[static_cast<std::size_t>(t + q.offsets[m])]);
      std::sort(there.begin(), there.end());
      std::vector<std::int64_t> here;
      for (const std::int64_t t : r.tokens_of(e))
        here.push_back(p.row_to_token[static_cast<std::size_t>(t + p.offsets[m])]);
      EXPECT_EQ(here, there) << e;
    }
  }
}

TEST(Catalogue, MomaCausalRoutingAsksNoOtherToken) {
  const batch main_router(34), auxiliary(35);
  const serial_executor executor;
  const auto o = catalogue::moma_causal(batch::experts);
  const auto choose = [&](std::int64_t tokens) {
    const affinity::logits_input<> input{{auxiliary.logits.data(), tokens, batch::experts}};
    std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens) * batch::experts);
    route::outputs<> out;
    out.prune.ids = ids.data();
    support::exact_workspace workspace(route::host_route_workspace_bytes(executor, input, o));
    EXPECT_TRUE(support::accepted(route::host_route(executor, input, o, out, workspace.view())));
    return ids;
  };
  const std::vector<std::int32_t> ids = choose(batch::tokens);
  for (std::size_t t = 0; t < batch::tokens; ++t) {
    std::vector<std::int32_t> chosen;
    for (std::size_t k = 0; k < batch::experts; ++k)
      if (ids[t * batch::experts + k] >= 0) chosen.push_back(ids[t * batch::experts + k]);
    std::sort(chosen.begin(), chosen.end());
    std::vector<std::int32_t> expected;
    for (std::int32_t e = 0; e < batch::experts; ++e)
      if (sigmoid(static_cast<double>(auxiliary.logits[t * batch::experts + static_cast<std::size_t>(e)])) > 0.5)
        expected.push_back(e);
    EXPECT_EQ(chosen, expected) << t;
  }
  const std::vector<std::int32_t> first = choose(7);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), ids.begin()));

  assignment_view a;
  a.tokens = batch::tokens;
  a.experts = batch::experts;
  a.slots_per_token = batch::experts;
  a.ids = ids.data();
  std::vector<float> weights(ids.size());
  support::exact_workspace workspace(token_choice::host_weights_workspace_bytes(executor, batch::experts));
  const matrix_view<const float> logits{main_router.logits.data(), batch::tokens, batch::experts};
  ASSERT_TRUE(support::accepted(
      token_choice::host_weights(executor, logits, a, affinity::sigmoid{}, {}, weights.data(), workspace.view())));
  for (std::size_t slot = 0; slot < ids.size(); ++slot) {
    const std::size_t pair = slot / batch::experts * batch::experts + static_cast<std::size_t>(std::max(ids[slot], 0));
    const double expected = ids[slot] < 0 ? 0.0 : sigmoid(static_cast<double>(main_router.logits[pair]));
    EXPECT_NEAR(weights[slot], expected, 1e-6);
  }
}

TEST(Catalogue, MomaMixtureOfDepthsTakesAQuarterOfTheTokens) {
  batch b(36);
  b.logits.resize(batch::tokens);  // one output: the block
  const ragged_route r(affinity::logits_input<>{{b.logits.data(), batch::tokens, 1}}, catalogue::mixture_of_depths());
  std::vector<std::int64_t> order(batch::tokens);
  std::iota(order.begin(), order.end(), 0);
  const auto at = [&](std::int64_t t) { return b.logits[static_cast<std::size_t>(t)]; };
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t c) { return at(a) > at(c); });
  order.resize(batch::tokens / 4);
  std::sort(order.begin(), order.end());
  EXPECT_EQ(r.tokens_of(0), order);
}

}  // namespace

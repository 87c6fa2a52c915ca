// SPDX-License-Identifier: Apache-2.0
// Gating residuals on the host: rows of logits with what the layer before left, straight into the next stage.
#include <resonance/affinity/host_residual_logits.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/route/host_route.hpp>
#include <resonance/route/router.hpp>

#include "affinity/residual_fixture.hpp"
#include "affinity/typed_rows.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using affinity_test::residual_case;

const std::vector<std::pair<std::size_t, std::size_t>> shapes = {{0, 8},  {1, 1},   {7, 12},   {33, 20},
                                                                 {9, 40}, {257, 7}, {17, 130}, {3, 1100}};

template <class Row>
std::vector<float> deltas_of(const support::any_executor& executor, const residual_case<Row>& c) {
  support::guarded_buffer<float> out(c.tokens * c.experts);
  const auto input = c.input();
  support::exact_workspace workspace(affinity::host_affinity_workspace_bytes(executor, affinity::logits{}, input));
  EXPECT_TRUE(support::accepted(affinity::host_affinity(
      executor, affinity::logits{}, input,
      {out.data(), static_cast<std::int64_t>(c.tokens), static_cast<std::int64_t>(c.experts)}, workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return {out.begin(), out.end()};
}

template <class Row>
class ResidualLogits : public ::testing::Test {};
TYPED_TEST_SUITE(ResidualLogits, typed_rows::all, typed_rows::names);

TYPED_TEST(ResidualLogits, AreLikeTheReferenceAndInTheWrittenOrder) {
  support::random_source random(431);
  for (const auto& [tokens, experts] : shapes) {
    SCOPED_TRACE(::testing::Message() << tokens << " x " << experts);
    const residual_case<TypeParam> c(random, tokens, experts);
    const std::vector<float> deltas = deltas_of(support::serial(), c);
    affinity_test::expect_near(deltas, c.expected(), c.expected(true));
    EXPECT_TRUE(typed_rows::same_bits(deltas, c.exact()));
    support::with_every_executor([&](const auto& executor, const std::string& name) {
      EXPECT_TRUE(typed_rows::same_bits(deltas_of(support::any_executor(executor), c), deltas)) << name;
    });
  }
}

// W_g = 0 leaves the logits, W_g = 1 adds the layer before.
TEST(ResidualLogitsOfLayers, AreCarriedWhole) {
  support::random_source random(432);
  residual_case<float> c(random, 9, 6);
  std::vector<float> gate(36, 0.0F);
  c.gate.stored = gate;
  c.gate.stride = 6;
  EXPECT_TRUE(typed_rows::same_bits(deltas_of(support::serial(), c), c.logits.values));
  for (std::size_t i = 0; i < 6; ++i) c.gate.stored[i * 6 + i] = 1.0F;
  const std::vector<float> added = deltas_of(support::serial(), c);
  for (std::size_t i = 0; i < added.size(); ++i) EXPECT_EQ(added[i], c.logits.values[i] + c.previous.values[i]);
}

// The route over residual logits is the route over their sums, and writes them for the next layer.
TEST(ResidualLogitsOfLayers, AreRoutedAsTheirSums) {
  support::random_source random(433);
  using router =
      resonance::router<affinity::logits, token_choice::top_k, merge::restricted, prune::heterogeneous_factor>;
  const residual_case<float> c(random, 300, 12);
  const std::vector<float> sums = c.exact();
  router::options options;
  options.choice.top_k = 2;
  options.capacity = prune::heterogeneous_factor{1.1, 0.75, 8, true};
  const auto route = [&](const auto& input, std::vector<float>* full) {
    std::vector<std::int32_t> ids(600), kept(600);
    std::vector<float> weights(600), kept_weights(600);
    route::outputs<> out;
    out.choice = {ids.data(), weights.data(), nullptr};
    out.prune.ids = kept.data();
    out.prune.weights = kept_weights.data();
    if (full != nullptr) out.affinity = {full->data(), 300, 12};
    support::exact_workspace workspace(router::workspace_bytes(on_host(serial_executor{}), input, options));
    EXPECT_TRUE(support::accepted(router::run(on_host(serial_executor{}), input, options, out, workspace.view())));
    return std::make_pair(std::make_pair(ids, weights), std::make_pair(kept, kept_weights));
  };
  affinity::logits_input<float> plain;
  plain.logits = {sums.data(), 300, 12};
  std::vector<float> full(300 * 12);
  EXPECT_EQ(route(c.input(), &full), route(plain, nullptr));
  EXPECT_EQ(route(c.input(), nullptr), route(plain, nullptr));
  EXPECT_TRUE(typed_rows::same_bits(full, sums));
}

TEST(ResidualLogitsOfLayers, RefuseBadArguments) {
  affinity_test::expect_residual_refusals([](const auto& input, matrix_view<float> out) {
    support::guarded_buffer<char> workspace(4096);
    const status result = affinity::host_affinity(serial_executor{}, affinity::logits{}, input, out,
                                                  {workspace.data(), workspace.size()});
    EXPECT_TRUE(workspace.untouched());
    return result;
  });
}

}  // namespace

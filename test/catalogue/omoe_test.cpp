// SPDX-License-Identifier: Apache-2.0
// OMoE's orthogonal phase, from routed tokens: route, plan, permute, then a projector per expert.
#include <resonance/offline/orthogonal_projector.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include <resonance/core/executor.hpp>
#include <resonance/permute/host_permute.hpp>
#include <resonance/route/host_route.hpp>
#include <resonance/route/router.hpp>

#include "offline/dense_algebra.hpp"
#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using router = resonance::router<affinity::logits, token_choice::top_k, merge::restricted, prune::unlimited>;

constexpr std::size_t tokens = 60, hidden = 12, experts = 4, outputs = 5;
constexpr double alpha = 1e-7;

//! A batch, routed, planned in tiles and permuted; and the projectors of what every expert received.
struct routed_batch {
  std::vector<float> x;  // [T,H]
  std::vector<std::int32_t> ids;
  std::int32_t top_k;
  std::vector<double> memory = std::vector<double>(experts * hidden * hidden);
  offline::projectors projectors{memory.data(), experts, hidden};

  routed_batch(const std::vector<float>& rows, const std::vector<float>& logits, std::int32_t k)
      : x(rows), ids(tokens * static_cast<std::size_t>(k)), top_k(k) {
    const serial_executor executor;
    const auto slots = static_cast<std::int64_t>(ids.size());
    affinity::logits_input<float> input;
    input.logits = {logits.data(), tokens, experts};
    router::options o;
    o.choice.top_k = k;
    o.plan.tile_tokens = 4;
    const std::int64_t most_rows = plan::max_rows(slots, experts, o.plan);
    std::vector<std::int32_t> offsets(experts + 1), inverse(ids.size());
    std::vector<std::int32_t> sorted_token_ids(static_cast<std::size_t>(most_rows));
    std::int64_t num_rows[2];
    route::outputs<> out;
    out.prune.ids = ids.data();
    out.plan = {nullptr, offsets.data(), sorted_token_ids.data(), inverse.data(), nullptr, num_rows};
    support::exact_workspace space(router::workspace_bytes(on_host(executor), input, o));
    EXPECT_TRUE(support::accepted(router::run(on_host(executor), input, o, out, space.view())));

    assignment_view a;
    a.tokens = tokens;
    a.experts = experts;
    a.slots_per_token = k;
    a.ids = ids.data();
    std::vector<float> permuted(static_cast<std::size_t>(num_rows[0]) * hidden);
    const matrix_view<float> by_expert(permuted.data(), num_rows[0], hidden);
    EXPECT_GT(num_rows[0], num_rows[1]);  // there is padding
    EXPECT_TRUE(support::accepted(permute::host_permute(
        executor, matrix_view<const float>(x.data(), tokens, hidden),
        permute::row_plan<>{a, sorted_token_ids.data(), inverse.data(), num_rows[0]}, by_expert)));

    support::exact_workspace scratch(offline::accumulate_projectors_workspace_bytes(executor, hidden));
    EXPECT_TRUE(support::accepted(offline::reset_projectors(projectors)));
    EXPECT_TRUE(support::accepted(offline::accumulate_projectors(executor, matrix_view<const float>(by_expert),
                                                                 offsets.data(), alpha, projectors, scratch.view())));
  }

  dense::vector token(std::size_t t) const { return {x.begin() + t * hidden, x.begin() + (t + 1) * hidden}; }

  //! How far an orthogonal step of one expert moves its output for an input: D Pbar a, by W after and before.
  dense::vector moved(std::int32_t expert, const std::vector<float>& update, const dense::vector& input) const {
    std::vector<double> mean(hidden * hidden);
    EXPECT_TRUE(support::accepted(offline::mean_of_other_projectors(projectors, expert, mean.data())));
    std::vector<float> weights(outputs * hidden, 0.0F);
    EXPECT_TRUE(support::accepted(
        offline::orthogonal_step(serial_executor{}, matrix_view<float>(weights.data(), outputs, hidden),
                                 matrix_view<const float>(update.data(), outputs, hidden), mean.data(), 1.0)));
    return product(weights, input);
  }
  static dense::vector product(const std::vector<float>& matrix, const dense::vector& input) {
    dense::vector y(outputs, 0.0);
    for (std::size_t i = 0; i < outputs; ++i)
      for (std::size_t j = 0; j < hidden; ++j) y[i] += static_cast<double>(matrix[i * hidden + j]) * input[j];
    return y;
  }
};

TEST(Catalogue, OmoeProjectorsAreThoseOfTheRoutedTokens) {
  support::random_source random(1);
  const routed_batch b(support::normal_values(random, tokens * hidden),
                       support::normal_values(random, tokens * experts), 1);
  // At an alpha that small a recursion over more rows than dimensions loses digits: what it gives is near 0.
  for (std::size_t e = 0; e < experts; ++e) {
    std::vector<dense::vector> rows;
    for (std::size_t t = 0; t < tokens; ++t)
      if (b.ids[t] == static_cast<std::int32_t>(e)) rows.push_back(b.token(t));
    const dense::square expected = dense::closed_form_projector(rows, hidden, alpha);
    for (std::size_t i = 0; i < hidden * hidden; ++i)
      EXPECT_NEAR(b.memory[e * hidden * hidden + i], expected[i], 1e-6) << rows.size() << " rows";
  }
}

// All tokens lie in five dimensions, which every expert has seen all of: no expert's output for them may move, and for
// what nobody has seen it moves by the whole update.
TEST(Catalogue, OmoeMovesNothingInTheSpanOfAllOthers) {
  support::random_source random(2);
  std::vector<float> x(tokens * hidden, 0.0F);
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t j = 0; j < 5; ++j) x[t * hidden + j] = static_cast<float>(random.normal());
  const routed_batch b(x, support::normal_values(random, tokens * experts), 2);
  const std::vector<float> update = support::normal_values(random, outputs * hidden);
  for (std::int32_t e = 0; e < static_cast<std::int32_t>(experts); ++e) {
    for (std::size_t t = 0; t < tokens; ++t)
      for (double value : b.moved(e, update, b.token(t))) EXPECT_NEAR(value, 0.0, 1e-5);
    dense::vector unseen(hidden, 0.0);
    for (std::size_t j = 5; j < hidden; ++j) unseen[j] = random.normal();
    const dense::vector whole = routed_batch::product(update, unseen);
    const dense::vector moved = b.moved(e, update, unseen);
    for (std::size_t i = 0; i < outputs; ++i) EXPECT_NEAR(moved[i], whole[i], 1e-5);
  }
}

// Experts with three dimensions each: an expert moves freely in its own, and by E - 2 of E - 1 in another's, since
// averaged projectors are softer than a projector off all spans.
TEST(Catalogue, OmoeMovesFreelyWhereNoOtherExpertIs) {
  support::random_source random(3);
  std::vector<float> x(tokens * hidden, 0.0F), logits(tokens * experts, 0.0F);
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t owner = t % 7 % experts;
    logits[t * experts + owner] = 1;
    for (std::size_t j = 3 * owner; j < 3 * owner + 3; ++j) x[t * hidden + j] = static_cast<float>(random.normal());
  }
  const routed_batch b(x, logits, 1);
  const std::vector<float> update = support::normal_values(random, outputs * hidden);
  for (std::int32_t e = 0; e < static_cast<std::int32_t>(experts); ++e)
    for (std::size_t t = 0; t < tokens; ++t) {
      const dense::vector whole = routed_batch::product(update, b.token(t));
      const dense::vector moved = b.moved(e, update, b.token(t));
      const double share = b.ids[t] == e ? 1.0 : 2.0 / 3;
      for (std::size_t i = 0; i < outputs; ++i) EXPECT_NEAR(moved[i], share * whole[i], 1e-5);
    }
}

}  // namespace

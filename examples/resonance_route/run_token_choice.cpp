// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "resonance_route/run.hpp"

namespace route_cli {
namespace {

using rows_of_affinity =
    resonance::affinity::host_source<resonance::affinity::logits, resonance::affinity::logits_input<float>>;

// The choice of a balanced assignment, by affinity + bias; o.score weighs it by the affinities themselves.
void choose_balanced(const resonance::thread_pool& pool, const options& o, routing& r) {
  namespace token_choice = resonance::token_choice;
  using resonance::affinity::identity;
  const resonance::matrix_view<const float> deltas(r.affinity.data(), r.tokens, r.experts);
  resonance::balance::sinkhorn_options balancing;
  balancing.iterations = o.sinkhorn_iterations;
  std::vector<float> bias(static_cast<std::size_t>(r.experts));
  scratch sums(resonance::balance::host_sinkhorn_workspace_bytes(pool, r.tokens, r.experts));
  require(resonance::balance::host_sinkhorn(pool, deltas, balancing, bias.data(), sums.view()));

  const rows_of_affinity rows({}, {deltas, nullptr, nullptr});
  token_choice::options choice = o.choice;
  choice.correction_bias = bias.data();
  const resonance::choice_buffers out{r.topk_ids.data(), r.topk_weights.data(), r.topk_affinity.data()};
  scratch choosing(token_choice::host_token_choice_workspace_bytes(pool, rows));
  std::visit(
      [&](const auto& selection) {
        require(token_choice::host_token_choice(pool, rows, identity{}, selection, choice, out, {}, choosing.view()));
      },
      o.selection);
  scratch weighing(token_choice::host_weights_workspace_bytes(pool, r.experts));
  std::visit(
      [&](const auto& score) {
        require(token_choice::host_weights(pool, deltas,
                                           resonance::as_assignments(out, r.tokens, r.experts, o.choice.top_k), score,
                                           o.choice, r.topk_weights.data(), weighing.view()));
      },
      o.score);
}

void weigh_near_experts(const resonance::thread_pool& pool, const options& o, routing& r) {
  namespace token_choice = resonance::token_choice;
  const resonance::matrix_view<const float> logits(r.affinity.data(), r.tokens, r.experts);
  const resonance::choice_buffers chosen{r.topk_ids.data(), nullptr, r.topk_affinity.data()};
  require(token_choice::host_sparse_mixer_weights(
      pool, logits, resonance::as_assignments(chosen, r.tokens, r.experts, o.choice.top_k),
      token_choice::sparse_mixer{}, r.topk_weights.data()));
}

void prune_choices(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r) {
  namespace prune = resonance::prune;
  const resonance::choice_buffers chosen{r.topk_ids.data(), r.topk_weights.data(), nullptr};
  const resonance::assignment_view choices = resonance::as_assignments(chosen, r.tokens, r.experts, o.choice.top_k);
  const prune::choice_outputs out{r.topk_ids.data(), r.topk_weights.data()};
  const std::uint8_t* kept_whole = in.protected_tokens.empty() ? nullptr : in.protected_tokens.data();
  std::visit(
      [&](const auto& rule) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(rule)>, std::monostate>)
          require(prune::host_prune_choices(pool, rule, choices, kept_whole, {o.choice.renormalize}, out));
      },
      o.pruned_choices);
}

}  // namespace

void choose_experts(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r) {
  namespace token_choice = resonance::token_choice;
  const resonance::matrix_view<const float> deltas(r.affinity.data(), r.tokens, r.experts);
  const rows_of_affinity rows({}, {deltas, nullptr, nullptr});

  const std::int64_t slots = r.tokens * o.choice.top_k;
  resize(r.topk_ids, slots);
  resize(r.topk_weights, slots);
  resize(r.topk_affinity, slots);
  if (o.sinkhorn_iterations > 0) {
    choose_balanced(pool, o, r);
  } else {
    const resonance::choice_buffers out{r.topk_ids.data(), r.topk_weights.data(), r.topk_affinity.data()};
    scratch workspace(token_choice::host_token_choice_workspace_bytes(pool, rows));
    std::visit(
        [&](const auto& score, const auto& selection) {
          require(token_choice::host_token_choice(pool, rows, score, selection, o.choice, out, {}, workspace.view()));
        },
        o.score, o.selection);
  }

  if (o.sparse_mixer) weigh_near_experts(pool, o, r);
  prune_choices(pool, o, in, r);
  r.delta_max = -HUGE_VALF;
  for (const float delta : r.topk_affinity) r.delta_max = std::max(r.delta_max, delta);
}

}  // namespace route_cli

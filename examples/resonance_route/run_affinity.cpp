// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "resonance_route/run.hpp"

namespace route_cli {
namespace {

namespace affinity = resonance::affinity;

void leave_out_other_modalities(const inputs& in, routing& r) {
  const auto experts = static_cast<std::size_t>(r.experts);
  for (std::size_t pair = 0; pair < r.affinity.size(); ++pair)
    if (in.modalities[pair / experts] != in.expert_modalities[pair % experts]) r.affinity[pair] = -HUGE_VALF;
}

void make_probabilities(const resonance::thread_pool& pool, routing& r) {
  const std::vector<float> logits = r.affinity;
  require(affinity::host_scores(pool, affinity::softmax{},
                                resonance::matrix_view<const float>(logits.data(), r.tokens, r.experts),
                                resonance::matrix_view<float>(r.affinity.data(), r.tokens, r.experts)));
}

template <class Metric, class Input>
void score(const resonance::thread_pool& pool, const Metric& metric, const Input& input, routing& r) {
  resize(r.affinity, r.tokens * r.experts);
  scratch workspace(affinity::host_affinity_workspace_bytes(pool, metric, input));
  require(affinity::host_affinity(
      pool, metric, input, resonance::matrix_view<float>(r.affinity.data(), r.tokens, r.experts), workspace.view()));
}

void blend_prior(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r) {
  const resonance::matrix_view<float> scores(r.affinity.data(), r.tokens, r.experts);
  const affinity::sequence_prior prior{view(std::get<std::vector<float>>(in.prior.values), in.prior),
                                       in.sequences.data()};
  require(affinity::host_blend_prior(pool, scores, prior, o.blend, scores));
}

}  // namespace

void score_pairs(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r) {
  const auto from_gate = [&](const auto& metric) {
    std::visit(
        [&](const auto& x, const auto& w) {
          using X = typename std::decay_t<decltype(x)>::value_type;
          using W = typename std::decay_t<decltype(w)>::value_type;
          score(pool, metric, affinity::hidden_input<X, W>{view(x, in.hidden), view(w, in.gate), 0, nullptr}, r);
        },
        in.hidden.values, in.gate.values);
  };
  const auto from_slices = [&](const auto& metric) {
    const float* weights = in.slice_weights.empty() ? nullptr : in.slice_weights.data();
    std::visit(
        [&](const auto& x) {
          using X = typename std::decay_t<decltype(x)>::value_type;
          score(pool, metric, affinity::hidden_input<X>{view(x, in.hidden), {}, in.experts, weights}, r);
        },
        in.hidden.values);
  };
  const auto from_logits = [&](const auto& metric) {
    std::visit(
        [&](const auto& logits) {
          using L = typename std::decay_t<decltype(logits)>::value_type;
          score(pool, metric,
                affinity::logits_input<L>{view(logits, in.logits), in.token_norms.data(), in.gate_norms.data()}, r);
        },
        in.logits.values);
  };
  std::visit(
      [&](const auto& metric) {
        using Metric = std::decay_t<decltype(metric)>;
        if constexpr (Metric::reads == affinity::operand::gate) {
          from_gate(metric);
        } else if constexpr (Metric::reads == affinity::operand::slice) {
          from_slices(metric);
        } else {
          from_logits(metric);
        }
      },
      o.metric);
  if (!in.modalities.empty()) leave_out_other_modalities(in, r);
  if (o.as_probabilities) make_probabilities(pool, r);
  if (!o.prior.empty()) blend_prior(pool, o, in, r);
}

}  // namespace route_cli

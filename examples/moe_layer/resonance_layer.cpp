// SPDX-License-Identifier: Apache-2.0
#include "resonance_layer.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include <resonance/resonance.hpp>

#include "stage_tools.hpp"

namespace demo {
namespace {

using namespace resonance;

// Hands one layer from stage to stage.
class staged_layer {
 public:
  staged_layer(const layer_input& layer, const thread_pool& pool)
      : layer_(layer),
        pool_(pool),
        tokens_(layer.hidden.rows),
        experts_(static_cast<std::int32_t>(layer.gate.rows)),
        ids_(static_cast<std::size_t>(tokens_ * recording::top_k)),
        weights_(ids_.size()),
        affinity_(ids_.size()),
        ranks_(ids_.size()) {}

  template <class Metric>
  void score(const Metric& metric, resonance_result& result) {
    affinity::hidden_input<float16> input;
    input.hidden = layer_.hidden.view();
    input.gate = layer_.gate.view();
    input.experts = experts_;
    result.affinity.resize(static_cast<std::size_t>(tokens_ * experts_));
    const matrix_view<float> delta(result.affinity.data(), tokens_, experts_);
    const workspace_view workspace = scratch_.of(affinity::host_affinity_workspace_bytes(pool_, metric, input));
    result.affinity_seconds =
        median_seconds([&] { must("affinity", affinity::host_affinity(pool_, metric, input, delta, workspace)); });
  }

  void choose(resonance_result& result) {
    affinity::logits_input<float> input;
    input.logits = {result.affinity.data(), tokens_, experts_};
    const affinity::host_source<affinity::logits, affinity::logits_input<float>> source({}, input);
    token_choice::options options;
    options.top_k = recording::top_k;
    options.renormalize = true;
    const choice_buffers out{ids_.data(), weights_.data(), affinity_.data()};
    const workspace_view workspace = scratch_.of(token_choice::host_token_choice_workspace_bytes(pool_, source));
    result.choice_seconds = median_seconds([&] {
      must("token choice", token_choice::host_token_choice(pool_, source, affinity::softmax{}, token_choice::top_k{},
                                                           options, out, {}, workspace));
    });
    chosen_ = as_assignments(out, tokens_, experts_, recording::top_k);
    result.tokens_per_expert.assign(static_cast<std::size_t>(experts_), 0);
    for (const std::int32_t e : ids_)
      if (e >= 0) ++result.tokens_per_expert[static_cast<std::size_t>(e)];
  }

  void merge(resonance_result& result) {
    assignment_buffers out;
    out.rank_in_expert = ranks_.data();
    const workspace_view workspace = scratch_.of(
        merge::host_merge_workspace_bytes<merge::restricted>(pool_, tokens_, experts_, recording::top_k, 0));
    result.merge_seconds = median_seconds(
        [&] { must("merge", merge::host_merge(pool_, merge::restricted{}, chosen_, {}, out, workspace)); });
    chosen_.rank_in_expert = ranks_.data();
  }

  template <class Rule>
  pruned_layer prune(const Rule& rule) {
    pruned_layer result;
    const auto experts = static_cast<std::size_t>(experts_);
    result.capacities.resize(experts);
    result.tokens_per_expert.resize(experts);
    result.kept_ids.resize(ids_.size());
    std::vector<double> assigned_mass(experts);
    std::vector<double> kept_mass(experts);
    prune::options options;
    options.hidden = layer_.hidden.cols;
    prune::outputs out;
    out.ids = result.kept_ids.data();
    out.capacities = result.capacities.data();
    out.kept = result.tokens_per_expert.data();
    out.assigned_mass = assigned_mass.data();
    out.kept_mass = kept_mass.data();
    const workspace_view workspace = scratch_.of(prune::host_prune_workspace_bytes(pool_, chosen_));
    result.prune_seconds = median_seconds([&] {
      must("prune", prune::host_prune(pool_, rule, prune::affinity_order{}, chosen_, options, out, workspace));
    });
    const double assigned = std::accumulate(assigned_mass.begin(), assigned_mass.end(), 0.0);
    result.kept_mass_share = assigned > 0 ? std::accumulate(kept_mass.begin(), kept_mass.end(), 0.0) / assigned : 1.0;
    return result;
  }

  void plan(pruned_layer& result) {
    assignment_view kept = chosen_;
    kept.ids = result.kept_ids.data();
    const plan::options options;
    std::vector<std::int32_t> counts(static_cast<std::size_t>(experts_));
    std::vector<std::int32_t> expert_offsets(counts.size() + 1);
    std::vector<std::int32_t> sorted_token_ids(ids_.size());
    std::vector<std::int32_t> inverse(ids_.size());
    std::int64_t num_rows[2] = {};
    const plan::outputs<> out{counts.data(), expert_offsets.data(), sorted_token_ids.data(), inverse.data(), nullptr,
                              num_rows};
    const workspace_view workspace = scratch_.of(plan::host_plan_workspace_bytes(pool_, kept, options));
    result.plan_seconds = median_seconds([&] { must("plan", plan::host_plan(pool_, kept, options, out, workspace)); });

    result.sound = num_rows[0] ==
                   std::count_if(result.kept_ids.begin(), result.kept_ids.end(), [](std::int32_t e) { return e >= 0; });
    for (std::size_t e = 0; e < counts.size(); ++e) {
      result.sound = result.sound && counts[e] == result.tokens_per_expert[e] && counts[e] <= result.capacities[e];
      for (std::int32_t row = expert_offsets[e]; row < expert_offsets[e + 1]; ++row) {
        const auto slot = static_cast<std::size_t>(sorted_token_ids[static_cast<std::size_t>(row)]);
        result.sound = result.sound && result.kept_ids[slot] == static_cast<std::int32_t>(e) && inverse[slot] == row;
      }
    }
  }

 private:
  const layer_input& layer_;
  const thread_pool& pool_;
  std::int64_t tokens_;
  std::int32_t experts_;
  std::vector<std::int32_t> ids_;    // [T,K]
  std::vector<float> weights_;       // [T,K]
  std::vector<float> affinity_;      // [T,K]
  std::vector<std::int32_t> ranks_;  // [T,K]
  assignment_view chosen_;
  scratch_memory scratch_;
};

}  // namespace

resonance_result run_resonance(metric m, const layer_input& layer, const thread_pool& pool) {
  resonance_result result;
  staged_layer stages(layer, pool);
  if (m == metric::grap) {
    stages.score(affinity::grouped_average_cosine{}, result);
  } else {
    stages.score(affinity::cosine{}, result);
  }
  stages.choose(result);
  stages.merge(result);
  result.by_mass = stages.prune(prune::affinity_mass{mass_rho});
  stages.plan(result.by_mass);
  result.by_bound = stages.prune(prune::lower_bound{});
  stages.plan(result.by_bound);

  result.by_mass.sound = result.by_mass.sound && result.by_mass.kept_mass_share >= mass_rho - 1e-6;
  for (const double share : {0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0}) {
    result.capacity_shares.push_back(share);
    result.mass_shares.push_back(stages.prune(prune::factor{share}).kept_mass_share);
  }
  return result;
}

}  // namespace demo

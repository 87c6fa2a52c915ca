// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/policies.hpp"

#include "resonance_route/numbers.hpp"
#include "resonance_route/routers.hpp"

namespace route_cli {
namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;
namespace merge = resonance::merge;
namespace prune = resonance::prune;

void choose_metric(const texts& t, options& o) {
  const bool from_logits = !o.logits.empty();
  if (!from_logits && !o.reads_hidden()) throw failure("give --hidden or --logits (--help shows all options)");
  const std::string metric = !t.metric.empty() ? t.metric : from_logits ? "logits" : "dot";
  const std::string name = "--metric " + metric;
  const bool slices = metric == "grap" || metric == "grap-mean";
  if (metric == "logits" && !from_logits) throw failure(name + ": needs --logits");
  if (slices && from_logits) throw failure(name + ": needs --hidden, not --logits");
  if (metric == "dot" && from_logits) throw failure(name + ": needs --hidden and --gate, not --logits");
  if (slices && o.experts == 0 && o.gate.empty()) throw failure(name + ": needs --experts");
  if (!slices && !from_logits && o.gate.empty()) throw failure(name + ": needs --gate");
  if (!slices && !o.slice_weights.empty()) throw failure("--slice-weights: needs --metric grap or grap-mean");
  const bool needs_norms = metric == "cosine" && from_logits;
  if (needs_norms && (o.token_norms.empty() || o.gate_norms.empty()))
    throw failure(name + ": with --logits it needs --token-norms and --gate-norms");
  if (!needs_norms && !o.token_norms.empty()) throw failure("--token-norms: needs --metric cosine");
  if (!needs_norms && !o.gate_norms.empty()) throw failure("--gate-norms: needs --metric cosine");

  if (metric == "dot") o.metric = affinity::dot{};
  if (metric == "cosine" && !from_logits) o.metric = affinity::cosine{};
  if (metric == "grap") o.metric = affinity::grouped_average_cosine{};
  if (metric == "grap-mean") o.metric = affinity::grouped_average{};
  if (metric == "logits") o.metric = affinity::logits{};
  if (needs_norms) o.metric = affinity::cosine_of_logits{};
}

void choose_score(const texts& t, options& o) {
  if (t.score == "identity") o.score = affinity::identity{};
  if (t.score == "softmax") o.score = affinity::softmax{};
  if (t.score == "softmax-chosen") o.score = affinity::softmax_over_chosen{};
  if (t.score == "sigmoid") o.score = affinity::sigmoid{};
  if (t.score == "sqrt-softplus") o.score = affinity::sqrt_softplus{};
  if (t.score == "relu-softmax") o.score = affinity::relu_softmax{};
  std::visit(
      [&](auto& score) {
        score.temperature = t.temperature;
        score.logit_cap = t.logit_cap;
      },
      o.score);
}

void choose_selection(const texts& t, options& o) {
  if (t.groups > 0) {
    if (t.top_groups > t.groups)
      throw failure("--top-groups: " + std::to_string(t.top_groups) + " exceeds --groups " + std::to_string(t.groups));
    token_choice::grouped_top_k grouped;
    grouped.n_group = t.groups;
    grouped.topk_group = t.top_groups;
    if (t.group_score == "best") grouped.scored_by = token_choice::group_score::best;
    o.selection = grouped;
  }
  if (t.top_p) o.selection = token_choice::top_p{*t.top_p};
  if (t.above) o.selection = token_choice::threshold{*t.above};
  if (!o.ranks.empty()) {
    o.choice.top_k = static_cast<std::int32_t>(o.ranks.size());
    o.selection = token_choice::rank_set{};
  }
}

void choose_merge(const texts& t, options& o) {
  if (t.merge == "restricted") o.merge = merge::restricted{};
  if (t.merge == "intersection") o.merge = merge::intersection{};
  if (t.merge == "union") o.merge = merge::union_{};
  if (t.merge == "token-only") o.merge = merge::token_only{};
  if (t.merge == "expert-only") o.merge = merge::expert_only{};
  if (o.expert_capacity >= 0 && (t.merge == "restricted" || t.merge == "token-only"))
    throw failure("--expert-capacity: needs --merge intersection, union or expert-only");
}

prune::lower_bound bound_of(const texts& t, const options& o) {
  if (!o.reads_hidden() && o.hidden_size == 0) throw failure("--capacity bound: with --logits it needs --hidden-size");
  prune::lower_bound bound;
  if (t.capacity_floor >= 0) bound.floor = t.capacity_floor;
  if (t.capacity_factor) bound.capacity_factor = *t.capacity_factor;
  return bound;
}

void choose_capacity(const texts& t, options& o) {
  const std::size_t colon = t.capacity.find(':');
  const std::string rule = t.capacity.substr(0, colon);
  const std::string value = colon == std::string::npos ? "" : t.capacity.substr(colon + 1);
  const std::string name = "--capacity " + rule;
  if (t.capacity == "unlimited") {
    o.capacity = prune::unlimited{};
  } else if (rule == "fixed") {
    o.capacity = prune::fixed{whole_number(name, value, 0)};
  } else if (rule == "factor") {
    o.capacity = prune::factor{real_number(name, value, not_negative)};
  } else if (rule == "mass") {
    o.capacity = prune::affinity_mass{real_number(name, value, share)};
  } else if (t.capacity == "bound") {
    o.capacity = bound_of(t, o);
  } else if (rule == "bound") {
    prune::lower_bound bound = bound_of(t, o);
    bound.delta_given = true;
    bound.delta = real_number(name, value, not_negative);
    o.capacity = bound;
  } else if (rule == "heterogeneous") {
    const std::size_t comma = value.find(',');
    prune::heterogeneous_factor two;
    two.capacity_factor = real_number(name, value.substr(0, comma), not_negative);
    two.tau = real_number(name, comma == std::string::npos ? "" : value.substr(comma + 1), positive);
    if (o.full_experts < 0) throw failure(name + ": needs --full-experts");
    o.capacity = two;
  } else if (rule == "per-expert") {
    if (value.empty()) throw failure(name + ": want per-expert:FILE");
    o.capacities = value;
    o.capacity = prune::per_expert{};
  } else {
    throw failure(
        "--capacity: want unlimited, fixed:C, factor:F, mass:RHO, bound, bound:DELTA, heterogeneous:F,TAU or "
        "per-expert:FILE, got '" +
        t.capacity + "'");
  }
  if (rule != "bound" && t.capacity_factor) throw failure("--capacity-factor: needs --capacity bound");
  if (rule != "bound" && t.capacity_floor >= 0) throw failure("--capacity-floor: needs --capacity bound");
}

void choose_drop_order(const texts& t, options& o) {
  if (t.drop == "affinity") o.drop = prune::affinity_order{};
  if (t.drop == "position") o.drop = prune::position{};
  if (t.drop == "slot-major") o.drop = prune::slot_major{};
  if (t.drop == "batch-prioritized") o.drop = prune::batch_prioritized{};
  if (t.drop == "slot-major-prioritized") o.drop = prune::slot_major_prioritized{};
}

void choose_pruned_choices(const texts& t, options& o) {
  if (t.pruned_choices.empty()) {
    if (!o.protected_tokens.empty()) throw failure("--protected: needs --prune-choices");
    return;
  }
  const std::size_t colon = t.pruned_choices.find(':');
  const std::string rule = t.pruned_choices.substr(0, colon);
  const std::string value = colon == std::string::npos ? "" : t.pruned_choices.substr(colon + 1);
  const std::string name = "--prune-choices " + rule;
  if (rule == "ratio") {
    o.pruned_choices = prune::weight_ratio{real_float(name, value, not_negative_float)};
  } else if (rule == "sensitivity") {
    const std::size_t comma = value.find(',');
    o.pruned_choices =
        prune::sensitivity{real_float(name, value.substr(0, comma), not_negative_float),
                           real_float(name, comma == std::string::npos ? "" : value.substr(comma + 1), positive_float)};
  } else {
    throw failure("--prune-choices: want ratio:MU or sensitivity:T,S, got '" + t.pruned_choices + "'");
  }
}

// What a router of the catalogue cannot do without.
void check_router_inputs(const std::string& name, const options& o) {
  if (o.capacity_by_modality && o.modalities.empty())
    throw failure(name + ": needs --modalities and --expert-modalities");
  if (o.blend.sequence != 0.0f && o.prior.empty()) throw failure(name + ": needs --prior and --sequences");
  if (std::holds_alternative<prune::heterogeneous_factor>(o.capacity) && o.full_experts < 0)
    throw failure(name + ": needs --full-experts");
  if (o.sinkhorn_iterations > 0 && !o.bias.empty()) throw failure(name + ": makes its own --bias");
}

// A router of the catalogue brings its policies; what was given beside it stays.
void choose_router(const texts& t, options& o) {
  const resonance::prune::options given = o.prune;
  const token_choice::missing_choice missing = o.choice.missing;
  apply_router(t.router, o);
  o.choice.missing = missing;
  o.prune.shared = given.shared;
  o.prune.capacity_cap = given.capacity_cap;
  o.prune.renormalize = given.renormalize;
  texts metric = t;
  metric.metric = o.router_metric;
  choose_metric(metric, o);
  if (t.top_k) o.choice.top_k = *t.top_k;
  if (std::holds_alternative<prune::lower_bound>(o.capacity)) o.capacity = bound_of(t, o);
  const bool prunes = t.router == "mc" || t.router == "adapmoe";
  if (prunes && t.pruned_choices.empty()) throw failure("--router " + t.router + ": needs --prune-choices");
  choose_pruned_choices(t, o);
  check_router_inputs("--router " + t.router, o);
}

}  // namespace

void choose_policies(const texts& t, options& o) {
  if (t.missing == "lowest-ids") o.choice.missing = token_choice::missing_choice::lowest_ids;
  o.choice.top_k = t.top_k.value_or(2);
  if (!t.router.empty()) {
    choose_router(t, o);
    return;
  }
  choose_metric(t, o);
  choose_score(t, o);
  choose_selection(t, o);
  choose_merge(t, o);
  choose_capacity(t, o);
  choose_drop_order(t, o);
  choose_pruned_choices(t, o);
}

}  // namespace route_cli

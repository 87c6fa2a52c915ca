// SPDX-License-Identifier: Apache-2.0
// The command line of resonance-route, parsed and checked as far as that goes without reading a file.
#pragma once

#include <cstdint>
#include <optional>
#include <resonance/resonance.hpp>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace route_cli {

//! Bad input: one line that names the option or the file.
struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One variant per stage: a stage is instantiated for its own policies, never for the product of all stages'.
using metric_policy = std::variant<resonance::affinity::dot, resonance::affinity::cosine,
                                   resonance::affinity::grouped_average_cosine, resonance::affinity::grouped_average,
                                   resonance::affinity::logits, resonance::affinity::cosine_of_logits>;
using score_policy =
    std::variant<resonance::affinity::identity, resonance::affinity::softmax, resonance::affinity::softmax_over_chosen,
                 resonance::affinity::sigmoid, resonance::affinity::sqrt_softplus, resonance::affinity::relu_softmax>;
using selection_policy =
    std::variant<resonance::token_choice::top_k, resonance::token_choice::grouped_top_k, resonance::token_choice::top_p,
                 resonance::token_choice::rank_set, resonance::token_choice::threshold>;
using merge_policy =
    std::variant<resonance::merge::restricted, resonance::merge::intersection, resonance::merge::union_,
                 resonance::merge::token_only, resonance::merge::expert_only>;
using capacity_rule = std::variant<resonance::prune::unlimited, resonance::prune::fixed, resonance::prune::factor,
                                   resonance::prune::lower_bound, resonance::prune::affinity_mass,
                                   resonance::prune::per_expert, resonance::prune::heterogeneous_factor>;
using choice_rule = std::variant<std::monostate, resonance::prune::weight_ratio, resonance::prune::sensitivity>;
using drop_order =
    std::variant<resonance::prune::affinity_order, resonance::prune::position, resonance::prune::slot_major,
                 resonance::prune::batch_prioritized, resonance::prune::slot_major_prioritized>;

//! Everything that the command line says. Arrays that a policy points to (ranks, bias, capacities, the expert map) are
//! bound to it when they have been read.
struct options {
  // Files; empty = not given.
  std::string hidden, gate, logits, token_norms, gate_norms, slice_weights, bias, capacities, expert_map;
  std::string modalities, expert_modalities, protected_tokens, prior, sequences;
  std::string out, json;

  std::int64_t experts = 0;      // 0 = as the gate or the logits say
  std::int64_t hidden_size = 0;  // 0 = as the hidden states say

  metric_policy metric;
  score_policy score;
  selection_policy selection;
  merge_policy merge;
  capacity_rule capacity;
  drop_order drop;
  choice_rule pruned_choices;
  resonance::affinity::blend_weights blend;
  std::int32_t full_experts = -1;  // the others get no rows; -1 = all
  std::vector<std::int32_t> ranks;
  std::string router_metric;             // of a router that asks for one
  bool as_probabilities = false;         // affinities are softmaxed before anything compares them
  bool capacity_by_modality = false;     // a factor counts the tokens and the experts of a modality
  bool every_expert = false;             // K = E
  std::int32_t sinkhorn_iterations = 0;  // 0 = no balancing
  bool sparse_mixer = false;             // weights by SparseMixer instead of the score
  resonance::token_choice::options choice;
  resonance::prune::options prune;
  resonance::plan::options plan;
  std::int64_t expert_capacity = -1;  // -1 = what the capacity rule gives
  bool pad_to_capacity = false;

  bool write_scores = false;
  bool balance = false;
  double locality_epsilon = 0.1;
  int threads = 1;

  bool reads_hidden() const { return !hidden.empty(); }
};

//! Nothing when the command line only asked for the help or the version, which is then printed. Throws failure.
std::optional<options> parse(int argc, const char* const* argv);

}  // namespace route_cli

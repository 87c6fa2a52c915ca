// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <numeric>

namespace demo {
namespace {

struct rule_name {
  pruned_layer resonance_result::*result;
  const char* name;
};
constexpr rule_name rules[] = {{&resonance_result::by_mass, "affinity_mass"},
                               {&resonance_result::by_bound, "lower_bound"}};

double sum(const std::vector<std::int64_t>& values) {
  return static_cast<double>(std::accumulate(values.begin(), values.end(), std::int64_t{0}));
}

std::string capacity_text(const std::vector<std::int64_t>& capacities) {
  const auto [least, most] = std::minmax_element(capacities.begin(), capacities.end());
  return std::to_string(*least) + (*least == *most ? "" : ".." + std::to_string(*most));
}

//! The share of the given tokens' assignments that lost their expert.
template <class Counts>
double cut_share(const pruned_layer& pruned, const Counts& counts_token) {
  std::size_t cut = 0, all = 0;
  for (std::size_t slot = 0; slot < pruned.kept_ids.size(); ++slot) {
    if (!counts_token(slot / recording::top_k)) continue;
    ++all;
    cut += pruned.kept_ids[slot] < 0 ? 1u : 0u;
  }
  return all > 0 ? static_cast<double>(cut) / static_cast<double>(all) : 0.0;
}

double without_expert_share(const pruned_layer& pruned) {
  std::size_t lost = 0;
  for (std::size_t slot = 0; slot < pruned.kept_ids.size(); slot += recording::top_k)
    lost += std::all_of(&pruned.kept_ids[slot], &pruned.kept_ids[slot] + recording::top_k,
                        [](std::int32_t e) { return e < 0; })
                ? 1u
                : 0u;
  return static_cast<double>(lost * recording::top_k) / static_cast<double>(pruned.kept_ids.size());
}

void print_loads(const char* metric_name, const char* what, const std::vector<std::int64_t>& loads) {
  std::printf("    %-8s  %-13s", metric_name, what);
  for (const std::int64_t load : loads) std::printf("%4" PRId64, load);
  std::printf(" %8.2f\n", max_over_mean(loads));
}

void print_load_table(const recording& data, const layer_results& results) {
  std::printf("    Tokens per expert before (chosen) and after pruning\n    affinity  expert       ");
  for (std::int32_t e = 0; e < data.experts(); ++e) std::printf("%4d", e);
  std::printf(" max/mean\n");
  for (std::size_t m = 0; m < results.size(); ++m) {
    const resonance_result& result = results[m];
    print_loads(name_of(metrics[m]), "chosen", result.tokens_per_expert);
    for (const rule_name& rule : rules) print_loads("", rule.name, (result.*rule.result).tokens_per_expert);
  }
}

void print_time_table(const layer_results& results) {
  std::printf(
      "    Time per stage in microseconds (median of 9)\n"
      "    affinity  capacity       affinity  token choice  merge  prune  plan  total\n");
  for (std::size_t m = 0; m < results.size(); ++m) {
    for (const rule_name& rule : rules) {
      const pruned_layer& pruned = results[m].*rule.result;
      const double stages[] = {results[m].affinity_seconds, results[m].choice_seconds, results[m].merge_seconds,
                               pruned.prune_seconds, pruned.plan_seconds};
      std::printf("    %-8s  %-13s  %8.0f  %12.0f  %5.0f  %5.0f  %4.0f  %5.0f\n", name_of(metrics[m]), rule.name,
                  1e6 * stages[0], 1e6 * stages[1], 1e6 * stages[2], 1e6 * stages[3], 1e6 * stages[4],
                  1e6 * std::accumulate(std::begin(stages), std::end(stages), 0.0));
    }
  }
}

void print_source_table(const recording& data, const layer_results& results) {
  std::printf("    Cut by affinity_mass, by what the tokens come from\n    affinity  ");
  for (const char* name : source_names) std::printf("  %12s", name);
  std::printf("\n");
  for (std::size_t m = 0; m < results.size(); ++m) {
    std::printf("    %-8s  ", name_of(metrics[m]));
    for (std::size_t kind = 0; kind < std::size(source_names); ++kind) {
      const auto of_kind = [&](std::size_t token) { return data.source[token] == kind; };
      std::printf("  %10.1f %%", 100 * cut_share(results[m].by_mass, of_kind));
    }
    std::printf("\n");
  }
}

void print_capacity_table(const std::vector<layer_results>& layers) {
  std::printf("    layer  affinity  capacity       C per expert  kept     cut  no expert  max/mean load  kept mass\n");
  const auto every_token = [](std::size_t) { return true; };
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    for (std::size_t m = 0; m < layers[layer].size(); ++m) {
      const resonance_result& result = layers[layer][m];
      for (const rule_name& rule : rules) {
        const pruned_layer& pruned = result.*rule.result;
        std::printf("    %5zu  %-8s  %-13s  %12s  %4.0f  %4.1f %%     %4.1f %%   %4.2f -> %4.2f    %5.1f %%\n", layer,
                    name_of(metrics[m]), rule.name, capacity_text(pruned.capacities).c_str(),
                    sum(pruned.tokens_per_expert), 100 * cut_share(pruned, every_token),
                    100 * without_expert_share(pruned), max_over_mean(result.tokens_per_expert),
                    max_over_mean(pruned.tokens_per_expert), 100 * pruned.kept_mass_share);
      }
    }
  }
}

}  // namespace

double max_over_mean(const std::vector<std::int64_t>& loads) {
  const double total = sum(loads);
  const auto most = static_cast<double>(*std::max_element(loads.begin(), loads.end()));
  return total > 0 ? most * static_cast<double>(loads.size()) / total : 0.0;
}

void print_model_layer(const recording& data, const model_layer_result& result) {
  std::printf("(a) Layer %d as the model routes it: softmax top-%d, renormalized, dropless\n",
              recording::answered_layer, recording::top_k);
  std::printf("    expert ids    %" PRId64 " of %" PRId64 " as recorded\n", result.equal_ids, result.ids);
  std::printf("    weights       largest error %.1e (limit %.0e)\n", result.weight_error,
              model_layer_result::most_weight_error);
  std::printf("    layer output  largest error %.1e (limit %.0e), %" PRId64 " tokens x %" PRId64 "\n",
              result.output_error, model_layer_result::most_output_error, data.tokens(), data.hidden());
  std::printf("    time          route %.2f ms, permute %.2f ms, experts %.0f ms, unpermute %.2f ms\n\n",
              1e3 * result.route_seconds, 1e3 * result.permute_seconds, 1e3 * result.experts_seconds,
              1e3 * result.unpermute_seconds);
}

void print_resonance(const recording& data, const std::vector<layer_results>& layers) {
  const layer_results& results = layers[recording::answered_layer];
  std::printf(
      "(b) By expert-token resonance: K = %d as in the model, restricted merge, experts keep their best.\n"
      "    GrAP: the fixed slices of the hidden state; cosine: to the model's learned gate.\n"
      "    affinity_mass: the best that hold %.0f %% of an expert's affinity; lower_bound: one C for\n"
      "    all, no more than 1.1 times the mean load.\n\n",
      recording::top_k, 100 * mass_rho);
  std::printf("    Layer %d\n", recording::answered_layer);
  print_load_table(data, results);
  std::printf("\n");
  print_time_table(results);
  std::printf("\n");
  print_source_table(data, results);
  std::printf("\n    All layers: share of %d x %" PRId64 " choices cut, share of tokens that no expert keeps\n",
              recording::top_k, data.tokens());
  print_capacity_table(layers);
}

}  // namespace demo

// SPDX-License-Identifier: Apache-2.0
// Part (b): a layer's tokens by expert-token resonance, the stages called one by one.
#pragma once

#include <cstdint>
#include <vector>

#include <resonance/core/executor_threads.hpp>

#include "recording.hpp"

namespace demo {

inline constexpr double mass_rho = 0.76;

enum class metric { grap, cosine };
inline constexpr metric metrics[] = {metric::grap, metric::cosine};
inline const char* name_of(metric m) { return m == metric::grap ? "GrAP" : "cosine"; }

//! What one capacity rule leaves of a layer's assignments.
struct pruned_layer {
  std::vector<std::int64_t> capacities;         // [E]
  std::vector<std::int64_t> tokens_per_expert;  // [E] kept
  std::vector<std::int32_t> kept_ids;           // [T,K] expert or -1
  double kept_mass_share = 0;
  bool sound = false;  // the plan and the counts agree, and no expert keeps more than its capacity
  double prune_seconds = 0, plan_seconds = 0;
};

struct resonance_result {
  std::vector<float> affinity;                  // [T,E] every delta
  std::vector<std::int64_t> tokens_per_expert;  // [E] chosen
  pruned_layer by_mass;                         // affinity_mass, rho = mass_rho
  pruned_layer by_bound;                        // lower_bound
  double affinity_seconds = 0, choice_seconds = 0, merge_seconds = 0;

  // The kept share of the affinity mass at fixed capacities, given as shares of T*K/E.
  std::vector<double> capacity_shares;
  std::vector<double> mass_shares;
};

//! Restricted merge, K = recording::top_k, experts keep their best.
resonance_result run_resonance(metric m, const layer_input& layer, const resonance::thread_pool& pool);

}  // namespace demo

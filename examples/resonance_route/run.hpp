// SPDX-License-Identifier: Apache-2.0
// The stages of the library, called one by one and timed.
#pragma once

#include <cstdint>
#include <resonance/core/executor_threads.hpp>
#include <resonance/resonance.hpp>
#include <string>
#include <utility>
#include <vector>

#include "resonance_route/inputs.hpp"
#include "resonance_route/options.hpp"

namespace route_cli {

//! Assignments that own their arrays; assignment_view's layout. `token_offsets` is empty where the layout is regular.
struct assignments {
  std::int32_t slots_per_token = 0;
  std::vector<std::int32_t> ids, rank_in_expert, token_of_slot;
  std::vector<float> weights, affinity;
  std::vector<std::int64_t> token_offsets;

  resonance::assignment_view view(std::int64_t tokens, std::int32_t experts) const;
};

struct balance_figures {
  double load_balance_loss = 0.0, z_loss = 0.0, calinski_harabasz = 0.0, locality_loss = 0.0;
  std::vector<double> mean_probability;
};

//! What the stages made of the input, in the order of the stages.
struct routing {
  std::int64_t tokens = 0;
  std::int32_t experts = 0;
  std::vector<float> affinity;                                      // [T,E]
  std::vector<std::int32_t> topk_ids;                               // [T,K]
  std::vector<float> topk_weights, topk_affinity;                   // [T,K]
  float delta_max = 0.0f;                                           // -inf where nothing was chosen
  bool ragged = false;                                              // a token may have gained experts
  assignments merged;                                               // before the cut
  std::vector<std::int32_t> kept_ids;                               // by slot of `merged`
  std::vector<float> kept_weights;                                  // by slot of `merged`
  std::vector<std::int64_t> capacities, kept, dropped;              // [E]
  std::vector<double> assigned_mass, kept_mass;                     // [E]
  assignments compact;                                              // where ragged: what is kept alone
  std::vector<std::int32_t> tokens_per_expert, expert_offsets;      // [L], [L+1]
  std::vector<std::int32_t> sorted_token_ids, inverse, expert_ids;  // [P], by slot, [P / tile]
  balance_figures balance;                                          // with options.balance
  std::vector<std::pair<std::string, double>> seconds;              // by stage
};

//! Runs every stage. Throws failure where the library refuses an argument.
routing route(const options& o, const inputs& in);

// The stages; each reads what the ones before it left in the routing. In run_STAGE.cpp, but for plan_rows (run.cpp).
void score_pairs(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r);
void choose_experts(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r);
void merge_choices(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r);
void prune_to_capacity(const resonance::thread_pool& pool, const options& o, routing& r);
void plan_rows(const resonance::thread_pool& pool, const options& o, routing& r);
void measure_balance(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r);

//! The rule as the stages apply it: bound takes the largest affinity of the token choice, unless one is given.
capacity_rule effective_capacity(const options& o, const routing& r);

//! Throws failure with the option that sets the refused argument.
void require(const resonance::status& status);

//! A workspace of the size that a stage asked for.
class scratch {
 public:
  explicit scratch(std::size_t bytes) : bytes_(bytes) {}
  resonance::workspace_view view() { return {bytes_.data(), bytes_.size()}; }

 private:
  std::vector<char> bytes_;
};

template <class T>
void resize(std::vector<T>& values, std::int64_t count) {
  values.resize(static_cast<std::size_t>(count));
}

}  // namespace route_cli

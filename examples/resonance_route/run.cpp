// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/run.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "resonance_route/numbers.hpp"

namespace route_cli {
namespace {

namespace plan = resonance::plan;

// The library names its own arguments; a user of this program knows the options.
const char* option_of(const char* argument) {
  static constexpr std::pair<const char*, const char*> table[] = {
      {"hidden", "--hidden"},
      {"gate", "--gate"},
      {"logits", "--logits"},
      {"experts", "--experts"},
      {"top_k", "--top-k"},
      {"n_group", "--groups"},
      {"topk_group", "--top-groups"},
      {"ranks", "--ranks"},
      {"tile_tokens", "--tile"},
      {"pad_to_capacity", "--pad-to-capacity"},
      {"sorted_token_ids", "--tile, --pad-to-capacity: the number of rows"},
      {"inverse", "--top-k: the number of assignments"},
      {"capacity_cap", "--capacity-cap"},
      {"expert.capacity", "--expert-capacity"},
  };
  for (const auto& [name, option] : table)
    if (std::strcmp(argument, name) == 0) return option;
  return argument;
}

}  // namespace

resonance::assignment_view assignments::view(std::int64_t tokens, std::int32_t experts) const {
  resonance::assignment_view v;
  v.tokens = tokens;
  v.experts = experts;
  v.slots_per_token = slots_per_token;
  v.ids = ids.data();
  v.weights = weights.data();
  v.affinity = affinity.data();
  v.rank_in_expert = rank_in_expert.data();
  v.token_offsets = token_offsets.empty() ? nullptr : token_offsets.data();
  // The library asks for this array even where no token holds a slot.
  static constexpr std::int32_t no_token = 0;
  v.token_of_slot = token_of_slot.empty() ? &no_token : token_of_slot.data();
  return v;
}

void require(const resonance::status& status) {
  if (!status.ok()) throw failure(std::string(option_of(status.argument)) + " " + status.message());
}

void plan_rows(const resonance::thread_pool& pool, const options& o, routing& r) {
  plan::options wanted = o.plan;
  if (o.pad_to_capacity) {
    wanted.pad_to_capacity = *std::max_element(r.capacities.begin(), r.capacities.end());
    // The product is bounded before it is formed.
    const double rows =
        static_cast<double>(wanted.local_experts(r.experts)) * static_cast<double>(wanted.pad_to_capacity);
    if (rows > static_cast<double>(largest_int32))
      throw failure("--pad-to-capacity: " + std::to_string(wanted.pad_to_capacity) +
                    " rows per expert need more than 2^31 rows; limit them with --capacity-cap");
  }
  resonance::assignment_view kept = (r.ragged ? r.compact : r.merged).view(r.tokens, r.experts);
  if (!r.ragged) kept.ids = r.kept_ids.data();

  const std::int64_t rows = plan::max_rows(kept.slots(), r.experts, wanted);
  if (rows > largest_int32)
    throw failure("--tile: " + std::to_string(wanted.tile_tokens) + " may need more than 2^31 rows for " +
                  std::to_string(kept.slots()) + " assignments");
  const std::int64_t local = wanted.local_experts(r.experts);
  std::int64_t num_rows[2] = {0, 0};
  resize(r.tokens_per_expert, local);
  resize(r.expert_offsets, local + 1);
  resize(r.sorted_token_ids, rows);
  resize(r.inverse, kept.slots());
  resize(r.expert_ids, rows / wanted.tile_tokens);
  plan::outputs<std::int32_t> out;
  out.tokens_per_expert = r.tokens_per_expert.data();
  out.expert_offsets = r.expert_offsets.data();
  out.sorted_token_ids = r.sorted_token_ids.data();
  out.inverse = r.inverse.data();
  out.expert_ids = r.expert_ids.data();
  out.num_rows = num_rows;
  scratch workspace(plan::host_plan_workspace_bytes(pool, kept, wanted));
  require(plan::host_plan(pool, kept, wanted, out, workspace.view()));
  resize(r.sorted_token_ids, num_rows[0]);
  resize(r.expert_ids, num_rows[0] / wanted.tile_tokens);
}

routing route(const options& o, const inputs& in) {
  routing r;
  r.tokens = in.tokens;
  r.experts = in.experts;
  const resonance::thread_pool pool(o.threads);
  const auto timed = [&](const char* stage, const auto& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    r.seconds.emplace_back(stage, taken.count());
  };
  timed("affinity", [&] { score_pairs(pool, o, in, r); });
  timed("token_choice", [&] { choose_experts(pool, o, in, r); });
  timed("merge", [&] { merge_choices(pool, o, in, r); });
  timed("prune", [&] { prune_to_capacity(pool, o, r); });
  timed("plan", [&] { plan_rows(pool, o, r); });
  if (o.balance) timed("balance", [&] { measure_balance(pool, o, in, r); });
  return r;
}

}  // namespace route_cli

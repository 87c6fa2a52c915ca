// SPDX-License-Identifier: Apache-2.0
// Drop and pad: one capacity for all experts and the rows as [E,C,H], the layout of a batched matrix product.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;

static void must(rs::status s) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s %s\n", s.argument, s.message());
  std::exit(1);
}

int main() {
  constexpr std::int64_t tokens = 400;
  constexpr std::int64_t hidden = 24;
  constexpr std::int32_t experts = 6;
  constexpr std::int32_t top_k = 2;
  constexpr std::size_t slots = tokens * top_k;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(tokens * hidden);
  for (float& value : x) value = normal(random);
  for (std::size_t t = 0; t < x.size(); t += hidden) x[t] += 3.0f;  // expert 0 owns this feature and gets most tokens

  // Route with a shared capacity. affinity_mass depends on the batch, so C is known only now; a rule such as `factor`
  // would give it beforehand, and the plan could be made in the same call.
  using router = rs::router<rs::affinity::grouped_average_cosine, rs::token_choice::top_k, rs::merge::restricted,
                            rs::prune::affinity_mass>;
  router::options options;
  options.choice.top_k = top_k;
  options.capacity.rho = 0.8;
  options.prune.shared = true;
  rs::affinity::hidden_input<float> input;
  input.hidden = {x.data(), tokens, hidden};
  input.experts = experts;
  std::vector<std::int32_t> kept_ids(slots);
  std::vector<std::int64_t> capacities(experts), kept(experts);
  rs::route::outputs<> out;
  out.prune.ids = kept_ids.data();
  out.prune.capacities = capacities.data();
  out.prune.kept = kept.data();
  const rs::serial_executor executor;
  const auto host = rs::on_host(executor);
  std::vector<char> workspace(router::workspace_bytes(host, input, options));
  must(router::run(host, input, options, out, {workspace.data(), workspace.size()}));
  const std::int64_t capacity = capacities[0];
  bool right = std::count(capacities.begin(), capacities.end(), capacity) == experts;

  rs::assignment_view routed;
  routed.tokens = tokens;
  routed.experts = experts;
  routed.slots_per_token = top_k;
  routed.ids = kept_ids.data();
  rs::plan::options layout;
  layout.pad_to_capacity = capacity;
  std::vector<std::int32_t> offsets(experts + 1), inverse(slots);
  std::vector<std::int32_t> sorted_token_ids(static_cast<std::size_t>(rs::plan::max_rows(slots, experts, layout)));
  std::int64_t num_rows[2];
  const rs::plan::outputs<> planned{nullptr,        offsets.data(), sorted_token_ids.data(),
                                    inverse.data(), nullptr,        num_rows};
  workspace.resize(rs::plan::host_plan_workspace_bytes(executor, routed, layout));
  must(rs::plan::host_plan(executor, routed, layout, planned, {workspace.data(), workspace.size()}));

  std::vector<float> batch(static_cast<std::size_t>(experts * capacity * hidden), -1.0f);  // [E,C,H]
  const rs::permute::row_plan<> rows{routed, sorted_token_ids.data(), inverse.data(), num_rows[0]};
  must(rs::permute::host_permute(executor, input.hidden, rows,
                                 rs::matrix_view<float>(batch.data(), experts * capacity, hidden)));

  // Expert e's batch: its kept tokens in order, then rows of zeros up to C.
  right = right && num_rows[0] == experts * capacity;
  for (std::int64_t e = 0; e < experts; ++e) {
    std::int64_t row = e * capacity;
    for (std::size_t slot = 0; slot < slots; ++slot) {
      if (kept_ids[slot] != e) continue;
      const float* token = x.data() + static_cast<std::int64_t>(slot) / top_k * hidden;
      right = right && std::equal(token, token + hidden, batch.data() + row++ * hidden);
    }
    right = right && row - e * capacity == kept[static_cast<std::size_t>(e)] &&
            kept[static_cast<std::size_t>(e)] <= capacity;
    const float* padding = batch.data() + row * hidden;
    const float* end = batch.data() + (e + 1) * capacity * hidden;
    right = right && std::all_of(padding, end, [](float value) { return value == 0.0f; });
  }
  std::printf("%d experts x %lld rows, %lld of them padding: %s\n", experts, static_cast<long long>(capacity),
              static_cast<long long>(num_rows[0] - num_rows[1]), right ? "right" : "WRONG");
  return right && num_rows[1] < num_rows[0] ? 0 : 1;
}

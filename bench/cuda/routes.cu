// SPDX-License-Identifier: Apache-2.0
// Whole routes: dropless from logits, pruned from hidden states (bf16).
#include <resonance/route/device_route.cuh>
#include <resonance/route/router.hpp>

#include "harness.cuh"

namespace bench {

namespace rs = resonance;

namespace {

using dropless = rs::router<rs::affinity::logits, rs::token_choice::top_k, rs::merge::token_only, rs::prune::unlimited>;
using etr = rs::router<rs::affinity::grouped_average_cosine, rs::token_choice::top_k, rs::merge::restricted,
                       rs::prune::affinity_mass>;

template <class Router, class Input>
timing time_route(const stage_timer& timer, const Input& input, typename Router::options o, const shape& s,
                  bool pruned) {
  o.choice.top_k = s.top_k;
  const device_array<std::int32_t> ids(s.slots()), offsets(s.experts + 1), sorted(s.slots()), inverse(s.slots());
  const device_array<float> weights(s.slots());
  const device_array<std::int64_t> num_rows(2);
  rs::route::outputs<> out;
  if (pruned) {
    out.prune.ids = ids.data();
    out.prune.weights = weights.data();
  } else {
    out.choice = {ids.data(), weights.data(), nullptr};
  }
  out.plan = {nullptr, offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows.data()};
  const std::size_t bytes = Router::workspace_bytes(rs::on_device(rs::device_stream{}), input, o);
  const device_array<char> workspace(static_cast<std::int64_t>(bytes));
  return timer.time([&](cudaStream_t stream) {
    return Router::run(rs::on_device(stream), input, o, out, {workspace.data(), bytes});
  });
}

}  // namespace

void time_routes(const card& of, const stage_timer& timer, const shape& s) {
  // ids and weights, sorted_token_ids and inverse, expert_offsets
  const double out_bytes = 16.0 * static_cast<double>(s.slots()) + 4.0 * (s.experts + 1);
  const device_array<float> logits(s.tokens * s.experts);
  fill(logits, s.tokens * s.experts, 7);
  rs::affinity::logits_input<float> given;
  given.logits = {logits.data(), s.tokens, s.experts};
  print_timing(of, "route, logits, dropless", s, 4.0 * static_cast<double>(s.tokens) * s.experts + out_bytes,
               time_route<dropless>(timer, given, {}, s, false));

  const device_array<rs::bfloat16> rows(s.tokens * s.hidden);
  fill(rows, s.tokens * s.hidden, 8);
  rs::affinity::hidden_input<rs::bfloat16> hidden;
  hidden.hidden = {rows.data(), s.tokens, s.hidden};
  hidden.experts = s.experts;
  etr::options pruning;
  pruning.capacity.rho = 0.76;
  print_timing(of, "route, GrAP, pruned, bf16", s,
               2.0 * static_cast<double>(s.tokens) * static_cast<double>(s.hidden) + out_bytes,
               time_route<etr>(timer, hidden, pruning, s, true));
}

}  // namespace bench

// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-route T E K H: from hidden states to the plan with pruning, and from logits without, against the host
// backend; with a batch of T tokens and with one that no single block takes.
#include <resonance/core/executor.hpp>
#include <resonance/route/device_route.cuh>
#include <resonance/route/host_route.hpp>
#include <resonance/route/router.hpp>

#include "support.hpp"

namespace {

namespace rs = resonance;

using etr = rs::router<rs::affinity::grouped_average_cosine, rs::token_choice::top_k, rs::merge::restricted,
                       rs::prune::affinity_mass>;
using dropless = rs::router<rs::affinity::logits, rs::token_choice::top_k, rs::merge::token_only, rs::prune::unlimited>;

//! What a route hands on, in the arrays of the host or of the device.
template <template <class...> class Array>
struct routed_arrays {
  Array<std::int32_t> topk_ids, ids, counts, offsets, sorted, inverse;
  Array<float> topk_weights, weights;
  Array<std::int64_t> num_rows;

  routed_arrays(std::size_t slots, std::size_t experts, std::size_t rows)
      : topk_ids(slots),
        ids(slots),
        counts(experts),
        offsets(experts + 1),
        sorted(rows),
        inverse(slots),
        topk_weights(slots),
        weights(slots),
        num_rows(2) {}

  rs::route::outputs<> outputs(bool pruned) {
    rs::route::outputs<> out;
    out.choice.topk_ids = topk_ids.data();
    out.choice.topk_weights = topk_weights.data();
    if (pruned) {
      out.prune.ids = ids.data();
      out.prune.weights = weights.data();
    }
    out.plan = {counts.data(), offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows.data()};
    return out;
  }
};

template <class Router, class Input>
void compare_routes(smoke::comparison& comparison, const smoke::shape& shape, const typename Router::options& o,
                    const Input& on_host, const Input& on_device, bool pruned) {
  const auto slots = static_cast<std::size_t>(shape.tokens * o.choice.top_k);
  const auto experts = static_cast<std::size_t>(shape.experts);
  const auto rows = static_cast<std::size_t>(rs::plan::max_rows(shape.tokens * o.choice.top_k, shape.experts, o.plan));
  const rs::serial_executor executor;
  const auto host = rs::on_host(executor);
  routed_arrays<std::vector> expected(slots, experts, rows);
  std::vector<unsigned char> memory(Router::workspace_bytes(host, on_host, o));
  smoke::require(Router::run(host, on_host, o, expected.outputs(pruned), {memory.data(), memory.size()}), "host_route");

  routed_arrays<smoke::device_array> found(slots, experts, rows);
  const std::size_t bytes = Router::workspace_bytes(rs::on_device(rs::device_stream{}), on_device, o);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_route", [&](const rs::device_stream& on) {
    return Router::run(rs::on_device(on), on_device, o, found.outputs(pruned), {workspace.data(), bytes});
  });
  comparison.same("topk_ids", expected.topk_ids, found.topk_ids.to_host());
  comparison.same("topk_weights", expected.topk_weights, found.topk_weights.to_host());
  if (pruned) {
    comparison.same("ids", expected.ids, found.ids.to_host());
    comparison.same("weights", expected.weights, found.weights.to_host());
  }
  comparison.same("num_rows", expected.num_rows, found.num_rows.to_host());
  comparison.same("tokens_per_expert", expected.counts, found.counts.to_host());
  comparison.same("expert_offsets", expected.offsets, found.offsets.to_host());
  comparison.same("sorted_token_ids", expected.sorted, found.sorted.to_host(),
                  static_cast<std::size_t>(expected.num_rows[0]));
  comparison.same("inverse", expected.inverse, found.inverse.to_host());
}

void compare_batch(smoke::comparison& comparison, const smoke::shape& shape) {
  smoke::generator numbers;
  const std::vector<float> x = smoke::random_values(numbers, shape.tokens * shape.hidden);
  const std::vector<float> logits = smoke::random_values(numbers, shape.tokens * shape.experts);
  const smoke::device_array<float> device_x(x);
  const smoke::device_array<float> device_logits(logits);

  rs::affinity::hidden_input<float> hidden;
  hidden.experts = shape.experts;
  hidden.hidden = {x.data(), shape.tokens, shape.hidden};
  rs::affinity::hidden_input<float> device_hidden = hidden;
  device_hidden.hidden.data = device_x.data();
  etr::options pruning;
  pruning.choice.top_k = shape.top_k;
  pruning.capacity.rho = 0.76;
  pruning.plan.tile_tokens = 16;
  compare_routes<etr>(comparison, shape, pruning, hidden, device_hidden, true);

  rs::affinity::logits_input<float> given;
  given.logits = {logits.data(), shape.tokens, shape.experts};
  rs::affinity::logits_input<float> device_given = given;
  device_given.logits.data = device_logits.data();
  dropless::options keeping;
  keeping.choice.top_k = shape.top_k;
  keeping.choice.renormalize = true;
  compare_routes<dropless>(comparison, shape, keeping, given, device_given, false);
}

}  // namespace

int main(int count, char** values) {
  smoke::shape shape = smoke::parse(count, values, {40, 72, 4, 144});
  smoke::require(shape.top_k >= 1 && shape.experts >= shape.top_k && shape.hidden >= shape.experts,
                 "K is 1 at least, E is K at least, H is E at least");
  smoke::comparison comparison("route");
  compare_batch(comparison, shape);
  constexpr std::int64_t more_than_a_block_takes = 257;
  shape.tokens += more_than_a_block_takes;
  compare_batch(comparison, shape);
  compare_batch(comparison, {40, 7, 2, 64});  // fewer experts than a block has warps
  return comparison.finish();
}

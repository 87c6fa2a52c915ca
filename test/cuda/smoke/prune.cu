// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-prune T E K: rules and drop orders of every kind, and choices given up, on random assignments, against the
// host backend.
#include <resonance/core/executor.hpp>
#include <resonance/merge/host_merge.hpp>
#include <resonance/prune/device_prune.cuh>
#include <resonance/prune/device_prune_choices.cuh>
#include <resonance/prune/host_prune.hpp>
#include <resonance/prune/host_prune_choices.hpp>

#include "support.hpp"

namespace {

namespace prune = resonance::prune;

//! Pruning's outputs, in the arrays of the host or of the device.
template <template <class...> class Array>
struct pruned_arrays {
  Array<std::int32_t> ids;
  Array<float> weights, delta_max;
  Array<std::int64_t> capacities, kept, dropped;
  Array<double> assigned_mass, kept_mass;

  pruned_arrays(std::int64_t slots, std::int32_t experts)
      : ids(static_cast<std::size_t>(slots)),
        weights(static_cast<std::size_t>(slots)),
        delta_max(1),
        capacities(static_cast<std::size_t>(experts)),
        kept(static_cast<std::size_t>(experts)),
        dropped(static_cast<std::size_t>(experts)),
        assigned_mass(static_cast<std::size_t>(experts)),
        kept_mass(static_cast<std::size_t>(experts)) {}

  prune::outputs outputs() {
    return {ids.data(),     weights.data(),       capacities.data(), kept.data(),
            dropped.data(), assigned_mass.data(), kept_mass.data(),  delta_max.data()};
  }
};

template <class Rule, class Order>
void compare_prunings(smoke::comparison& comparison, const Rule& rule, const Order& order,
                      const resonance::assignment_view& on_host, const resonance::assignment_view& on_device,
                      const prune::options& options) {
  const resonance::serial_executor executor;
  pruned_arrays<std::vector> expected(on_host.slots(), on_host.experts);
  std::vector<unsigned char> memory(prune::host_prune_workspace_bytes(executor, on_host));
  smoke::require(prune::host_prune(executor, rule, order, on_host, options, expected.outputs(),
                                   resonance::workspace_view{memory.data(), memory.size()}),
                 "host_prune");

  pruned_arrays<smoke::device_array> found(on_host.slots(), on_host.experts);
  const std::size_t bytes = prune::device_prune_workspace_bytes<Rule, Order>(on_device);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_prune", [&](const resonance::device_stream& on) {
    return prune::device_prune(on, rule, order, on_device, options, found.outputs(), {workspace.data(), bytes});
  });
  comparison.same("capacities", expected.capacities, found.capacities.to_host());
  comparison.same("ids", expected.ids, found.ids.to_host());
  comparison.same("weights", expected.weights, found.weights.to_host());
  comparison.same("kept", expected.kept, found.kept.to_host());
  comparison.same("dropped", expected.dropped, found.dropped.to_host());
  comparison.same("assigned_mass", expected.assigned_mass, found.assigned_mass.to_host());
  comparison.same("kept_mass", expected.kept_mass, found.kept_mass.to_host());
  comparison.same("delta_max", expected.delta_max, found.delta_max.to_host());
}

//! The ranks that a restricted merge gives.
std::vector<std::int32_t> ranks_of(const resonance::assignment_view& choices) {
  const resonance::serial_executor executor;
  std::vector<std::int32_t> ranks(static_cast<std::size_t>(choices.slots()));
  std::vector<unsigned char> memory(resonance::merge::host_merge_workspace_bytes<resonance::merge::restricted>(
      executor, choices.tokens, choices.experts, choices.slots_per_token, 0));
  resonance::assignment_buffers out;
  out.rank_in_expert = ranks.data();
  smoke::require(resonance::merge::host_merge(executor, resonance::merge::restricted{}, choices, {}, out,
                                              resonance::workspace_view{memory.data(), memory.size()}),
                 "host_merge");
  return ranks;
}

//! Every fourth token keeps all its choices.
void compare_choices(smoke::comparison& comparison, const resonance::assignment_view& on_host,
                     const resonance::assignment_view& on_device) {
  std::vector<std::uint8_t> kept_whole;
  for (std::int64_t t = 0; t < on_host.tokens; ++t) kept_whole.push_back(t % 4 == 0 ? 1 : 0);
  const smoke::device_array<std::uint8_t> device_kept_whole(kept_whole);
  const prune::weight_ratio rule{0.5F};
  const prune::choice_options options{true};
  const auto slots = static_cast<std::size_t>(on_host.slots());
  std::vector<std::int32_t> ids(slots);
  std::vector<float> weights(slots);
  std::vector<std::int64_t> pruned(1);
  smoke::require(prune::host_prune_choices(resonance::serial_executor{}, rule, on_host, kept_whole.data(), options,
                                           {ids.data(), weights.data(), pruned.data()}),
                 "host_prune_choices");
  const smoke::device_array<std::int32_t> found_ids(slots);
  const smoke::device_array<float> found_weights(slots);
  const smoke::device_array<std::int64_t> found_pruned(1);
  const std::size_t bytes = prune::device_prune_choices_workspace_bytes(on_device.tokens);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_prune_choices", [&](const resonance::device_stream& on) {
    return prune::device_prune_choices(on, rule, on_device, device_kept_whole.data(), options,
                                       {found_ids.data(), found_weights.data(), found_pruned.data()},
                                       {workspace.data(), bytes});
  });
  comparison.same("ids", ids, found_ids.to_host());
  comparison.same("weights", weights, found_weights.to_host());
  comparison.same("pruned", pruned, found_pruned.to_host());
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {40, 72, 4, 64});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1 && shape.hidden >= 1, "E, K and H are 1 at least");
  smoke::generator numbers;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(shape.tokens * shape.top_k));
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1;
  const std::vector<float> affinity = smoke::random_values(numbers, shape.tokens * shape.top_k);
  const std::vector<float> weights = smoke::random_values(numbers, shape.tokens * shape.top_k);
  resonance::assignment_view on_host;
  on_host.tokens = shape.tokens;
  on_host.experts = shape.experts;
  on_host.slots_per_token = shape.top_k;
  resonance::assignment_view on_device = on_host;
  on_host.ids = ids.data();
  on_host.affinity = affinity.data();
  on_host.weights = weights.data();
  const std::vector<std::int32_t> ranks = ranks_of(on_host);
  on_host.rank_in_expert = ranks.data();
  const smoke::device_array<std::int32_t> device_ids(ids);
  const smoke::device_array<float> device_affinity(affinity);
  const smoke::device_array<float> device_weights(weights);
  const smoke::device_array<std::int32_t> device_ranks(ranks);
  on_device.ids = device_ids.data();
  on_device.affinity = device_affinity.data();
  on_device.weights = device_weights.data();
  on_device.rank_in_expert = device_ranks.data();

  smoke::comparison comparison("prune");
  prune::options options;
  options.hidden = shape.hidden;
  compare_prunings(comparison, prune::affinity_mass{0.76}, prune::affinity_order{}, on_host, on_device, options);
  compare_prunings(comparison, prune::factor{0.8}, prune::slot_major{}, on_host, on_device, options);
  compare_prunings(comparison, prune::factor{0.8}, prune::slot_major_prioritized{}, on_host, on_device, options);
  compare_choices(comparison, on_host, on_device);
  options.shared = true;
  options.renormalize = true;
  compare_prunings(comparison, prune::lower_bound{true, 0.1, 1, 0.9}, prune::batch_prioritized{}, on_host, on_device,
                   options);
  return comparison.finish();
}

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Placement in two stages: experts on nodes first, whose links are the slow ones, then on the devices of each node.
#ifndef RESONANCE_OFFLINE_STAGED_PLACEMENT_HPP
#define RESONANCE_OFFLINE_STAGED_PLACEMENT_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/offline/placement.hpp>
#include <resonance/offline/transition_trace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

struct staged_placement_options {
  std::int32_t nodes = 1;
  std::int32_t devices_per_node = 1;  //!< nodes * devices_per_node divides E
  std::int32_t starts = 32;           //!< of each stage
  std::int32_t most_sweeps = 100;     //!< of each stage
};

}  // namespace offline

namespace detail {

inline status check_staged_placement(const offline::transition_trace& trace,
                                     const offline::staged_placement_options& o) {
  checks c;
  c.also(check_trace(trace));
  c.in_range(o.nodes >= 1 && o.nodes <= trace.experts && trace.experts % o.nodes == 0, "nodes");
  if (!c.result().ok()) return c.result();
  const std::int32_t room = trace.experts / o.nodes;
  c.in_range(o.devices_per_node >= 1 && o.devices_per_node <= room && room % o.devices_per_node == 0,
             "devices_per_node");
  return c.in_range(o.starts >= 1, "starts").in_range(o.most_sweeps >= 0, "most_sweeps").result();
}

//! One node's own transitions, and where its experts go.
struct staged_placement_scratch {
  std::int32_t* node_of;    // [L,E]
  std::int32_t* members;    // [L,E / nodes] experts of the node, rising
  std::int32_t* device_of;  // [L,E / nodes] their devices within the node
  std::int64_t* counts;     // [L - 1,E / nodes,E / nodes]
  workspace_view search;    // of either stage

  staged_placement_scratch(workspace_carver& carver, const offline::transition_trace& trace,
                           const offline::staged_placement_options& o) {
    const offline::transition_trace inside{nullptr, trace.layers, trace.experts / o.nodes};
    node_of = carver.take<std::int32_t>(trace.places());
    members = carver.take<std::int32_t>(inside.places());
    device_of = carver.take<std::int32_t>(inside.places());
    counts = carver.take<std::int64_t>((trace.layers - 1) * inside.table());
    workspace_carver of_nodes, of_devices;
    placement_search(of_nodes, trace, o.nodes);
    placement_search(of_devices, inside, o.devices_per_node);
    search.bytes = std::max(of_nodes.bytes(), of_devices.bytes());
    search.data = carver.take<char>(static_cast<std::int64_t>(search.bytes));
  }
};

//! Lists a node's experts in every layer, and copies the transitions among them; the trace of that node alone.
inline offline::transition_trace trace_within(const offline::transition_trace& trace, std::int32_t node,
                                              const staged_placement_scratch& s, std::int32_t room) {
  for (std::int64_t layer = 0; layer < trace.layers; ++layer) {
    std::int64_t found = 0;
    for (std::int32_t e = 0; e < trace.experts; ++e)
      if (s.node_of[layer * trace.experts + e] == node) s.members[layer * room + found++] = e;
  }
  std::int64_t* count = s.counts;
  for (std::int64_t layer = 0; layer + 1 < trace.layers; ++layer)
    for (std::int64_t a = 0; a < room; ++a)
      for (std::int64_t b = 0; b < room; ++b)
        *count++ = trace.count(layer, s.members[layer * room + a], s.members[(layer + 1) * room + b]);
  return {s.counts, trace.layers, room};
}

}  // namespace detail

namespace offline {

//! Bytes of workspace that place_experts_in_stages needs; 0 where it refuses.
inline std::size_t place_experts_in_stages_workspace_bytes(const transition_trace& trace,
                                                           const staged_placement_options& o) {
  if (!detail::check_staged_placement(trace, o).ok()) return 0;
  detail::workspace_carver counter;
  detail::staged_placement_scratch(counter, trace, o);
  return counter.bytes();
}

//! Places the experts of every layer on nodes, then those of each node on its devices.
//!
//! Equation   place_experts with P = nodes; then, for the transitions that stay in a node, with P = devices_per_node
//!            ExFlow, arXiv 2401.08383, staged
//! Inputs     trace
//! Outputs    placement int32[L,E]: node * devices_per_node + device in the node
//!            between_nodes, between_devices: crossings of the placement, the latter hold the former; nullable
//! Contract   integers: same result everywhere; crossings of nodes are those of place_experts
//! Errors     out_of_range (layers, experts, counts, nodes, devices_per_node, starts, most_sweeps), index_overflow
//!            (counts), null_pointer (counts, placement), workspace_too_small
//! Resources  place_experts_in_stages_workspace_bytes: that of place_experts, a table of a node's counts, 4 L E and
//!            8 L E / nodes; no allocation
//! Cost       that of place_experts for nodes, and for each node of place_experts on E / nodes experts
//! Example    test/offline/staged_placement_test.cpp
inline status place_experts_in_stages(const transition_trace& trace, const staged_placement_options& o,
                                      std::int32_t* placement, crossing_count* between_nodes,
                                      crossing_count* between_devices, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_staged_placement(trace, o)).present(placement, true, "placement");
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, place_experts_in_stages_workspace_bytes(trace, o)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  const detail::staged_placement_scratch s(carver, trace, o);
  placement_options stage;
  stage.devices = o.nodes;
  stage.starts = o.starts;
  stage.most_sweeps = o.most_sweeps;
  status placed = place_experts(trace, stage, s.node_of, nullptr, between_nodes, s.search);
  if (!placed.ok()) return placed;
  const std::int32_t room = trace.experts / o.nodes;
  stage.devices = o.devices_per_node;
  for (std::int32_t node = 0; node < o.nodes; ++node) {
    placed = place_experts(detail::trace_within(trace, node, s, room), stage, s.device_of, nullptr, nullptr, s.search);
    if (!placed.ok()) return placed;
    for (std::int64_t layer = 0; layer < trace.layers; ++layer)
      for (std::int64_t i = 0; i < room; ++i)
        placement[layer * trace.experts + s.members[layer * room + i]] =
            node * o.devices_per_node + s.device_of[layer * room + i];
  }
  if (between_devices != nullptr) *between_devices = detail::crossings_of(trace, placement);
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Which expert goes to which device, so that few tokens change devices between layers: by local search.
#ifndef RESONANCE_OFFLINE_PLACEMENT_HPP
#define RESONANCE_OFFLINE_PLACEMENT_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/offline/least_cost_assignment.hpp>
#include <resonance/offline/transition_trace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

struct placement_options {
  std::int32_t devices = 1;               //!< P divides E: every device holds E / P experts of every layer
  std::int32_t starts = 32;               //!< >= 1: places to search from; the first is `initial`
  std::int32_t most_sweeps = 100;         //!< >= 0: over all layers, per start
  const std::int32_t* initial = nullptr;  //!< [L,E], balanced; null: E / P neighbouring experts per device
};

}  // namespace offline

namespace detail {

inline status check_placement_options(const offline::transition_trace& trace, const offline::placement_options& o) {
  checks c;
  c.also(check_trace(trace));
  c.in_range(o.devices >= 1 && o.devices <= trace.experts && trace.experts % o.devices == 0, "devices");
  c.in_range(o.starts >= 1, "starts").in_range(o.most_sweeps >= 0, "most_sweeps");
  if (c.result().ok() && o.initial != nullptr) c.also(check_placement(trace, o.initial, o.devices, true, "initial"));
  return c.result();
}

//! Improves a placement layer by layer.
class placement_search {
 public:
  placement_search(workspace_carver& carver, const offline::transition_trace& trace, std::int32_t devices)
      : trace_(trace),
        devices_(devices),
        room_(trace.experts / devices),
        current_(carver.take<std::int32_t>(trace.places())),
        gain_(carver.take<std::int64_t>(std::int64_t{trace.experts} * devices)),
        solver_(carver, trace.experts) {}

  const std::int32_t* current() const { return current_; }

  //! Places the experts of a layer as `of_layer` says, expert -> device.
  template <class OfLayer>
  void place(std::int64_t layer, const OfLayer& of_layer) {
    for (std::int32_t e = 0; e < trace_.experts; ++e) current_[layer * trace_.experts + e] = of_layer(e);
  }

  std::int32_t neighbours(std::int32_t e) const { return e / room_; }

  //! Neighbouring experts of layer 0, in an order that `seed` shuffles (0: not at all); each further layer as the one
  //! before it asks.
  void start_from_first_layer(std::uint64_t seed) {
    place(0, [&](std::int32_t e) { return neighbours(e); });
    for (std::int32_t e = trace_.experts - 1; seed != 0 && e > 0; --e) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      const auto other = static_cast<std::int32_t>((seed >> 33) % static_cast<std::uint64_t>(e + 1));
      const std::int32_t device = current_[e];
      current_[e] = current_[other];
      current_[other] = device;
    }
    for (std::int64_t layer = 1; layer < trace_.layers; ++layer) {
      clear_gains();
      gain_from_before(layer);
      place_by_gains(layer);
    }
  }

  //! Until a sweep over all layers changes nothing. Each step is the best there is for its layer, given its neighbours.
  void improve(std::int32_t most_sweeps) {
    bool changed = true;
    for (std::int32_t sweep = 0; changed && sweep < most_sweeps; ++sweep) {
      changed = false;
      for (std::int64_t layer = 0; layer < trace_.layers; ++layer) {
        clear_gains();
        if (layer > 0) gain_from_before(layer);
        if (layer + 1 < trace_.layers) gain_from_after(layer);
        const std::int64_t before = gained(layer);
        solve();
        std::int64_t after = 0;
        for (std::int32_t column = 0; column < trace_.experts; ++column)
          after += gain(solver_.row_of(column), column / room_);
        if (after <= before) continue;
        take_solution(layer);
        changed = true;
      }
    }
  }

 private:
  //! Transitions of expert e that stay where they are when it is on a device.
  std::int64_t& gain(std::int64_t e, std::int64_t device) { return gain_[e * devices_ + device]; }
  std::int32_t device_of(std::int64_t layer, std::int64_t e) const { return current_[layer * trace_.experts + e]; }

  void clear_gains() {
    for (std::int64_t i = 0; i < std::int64_t{trace_.experts} * devices_; ++i) gain_[i] = 0;
  }
  void gain_from_before(std::int64_t layer) {
    for (std::int64_t a = 0; a < trace_.experts; ++a)
      for (std::int64_t e = 0; e < trace_.experts; ++e)
        gain(e, device_of(layer - 1, a)) += trace_.count(layer - 1, a, e);
  }
  void gain_from_after(std::int64_t layer) {
    for (std::int64_t e = 0; e < trace_.experts; ++e)
      for (std::int64_t b = 0; b < trace_.experts; ++b) gain(e, device_of(layer + 1, b)) += trace_.count(layer, e, b);
  }
  std::int64_t gained(std::int64_t layer) {
    std::int64_t sum = 0;
    for (std::int64_t e = 0; e < trace_.experts; ++e) sum += gain(e, device_of(layer, e));
    return sum;
  }

  //! A device is E / P columns of the assignment problem.
  void solve() {
    solver_.solve([&](std::int32_t e, std::int32_t column) { return -gain(e, column / room_); });
  }
  void take_solution(std::int64_t layer) {
    for (std::int32_t column = 0; column < trace_.experts; ++column)
      current_[layer * trace_.experts + solver_.row_of(column)] = column / room_;
  }
  void place_by_gains(std::int64_t layer) {
    solve();
    take_solution(layer);
  }

  offline::transition_trace trace_;
  std::int32_t devices_;
  std::int32_t room_;  // experts of a layer on a device
  std::int32_t* current_;
  std::int64_t* gain_;
  assignment_solver solver_;
};

}  // namespace detail

namespace offline {

//! Bytes of workspace that place_experts needs: 4 L E + 8 E P + 33 E, and padding; 0 where the trace is refused.
inline std::size_t place_experts_workspace_bytes(const transition_trace& trace, const placement_options& o) {
  if (!detail::check_placement_options(trace, o).ok()) return 0;
  detail::workspace_carver counter;
  detail::placement_search(counter, trace, o.devices);
  return counter.bytes();
}

//! Places the experts of every layer on devices, E / P each, so that few transitions cross from device to device.
//!
//! Equation   min sum over l, a, b of counts(l,a,b) where place(l,a) != place(l + 1,b)   ExFlow, arXiv 2401.08383
//!            given its neighbours, a layer is an assignment problem: solved exactly, layer after layer, until no layer
//!            can gain
//! Inputs     trace; options.initial int32[L,E], nullable; the second start takes layer 0 as it is and follows the
//!            counts from there, further ones shuffle layer 0 first, the same on every call
//! Outputs    placement int32[L,E]; may be options.initial itself
//!            before, after: crossings of the initial placement and of this one; nullable
//! Contract   integers, ties to the lower device and the earlier start: same result everywhere; never worse than the
//!            initial placement; a local optimum, within some percent of place_experts_exactly where that can tell
//! Errors     out_of_range (layers, experts, counts, devices, starts, most_sweeps, initial), index_overflow (counts),
//!            null_pointer (counts, placement), workspace_too_small
//! Resources  place_experts_workspace_bytes; no allocation
//! Cost       O(starts * sweeps * L * E^3); sweeps are few
//! Example    test/offline/placement_test.cpp
inline status place_experts(const transition_trace& trace, const placement_options& o, std::int32_t* placement,
                            crossing_count* before, crossing_count* after, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_placement_options(trace, o)).present(placement, true, "placement");
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, place_experts_workspace_bytes(trace, o)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::placement_search search(carver, trace, o.devices);
  for (std::int64_t layer = 0; layer < trace.layers; ++layer)
    search.place(layer, [&](std::int32_t e) {
      return o.initial != nullptr ? o.initial[layer * trace.experts + e] : search.neighbours(e);
    });
  const crossing_count at_first = detail::crossings_of(trace, search.current());
  crossing_count best = at_first;
  for (std::int32_t start = 0; start < o.starts; ++start) {
    if (start > 0) search.start_from_first_layer(static_cast<std::uint64_t>(start - 1));
    search.improve(o.most_sweeps);
    const crossing_count found = detail::crossings_of(trace, search.current());
    if (start > 0 && found.crossing >= best.crossing) continue;
    best = found;
    for (std::int64_t i = 0; i < trace.places(); ++i) placement[i] = search.current()[i];
  }
  if (before != nullptr) *before = at_first;
  if (after != nullptr) *after = best;
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

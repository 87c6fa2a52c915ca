// SPDX-License-Identifier: Apache-2.0
//! \file
//! The placement of experts with the fewest crossings of all, for few experts: layer by layer over every arrangement.
#ifndef RESONANCE_OFFLINE_EXACT_PLACEMENT_HPP
#define RESONANCE_OFFLINE_EXACT_PLACEMENT_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/offline/transition_trace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Arrangements of a layer that the exact search takes at most: 10 experts on 2 devices, 8 on 4.
inline constexpr std::int64_t most_arrangements = 4096;

//! Ways to put E experts on P devices, E / P each: E! / ((E / P)!)^P; most_arrangements + 1 for more than that.
constexpr std::int64_t arrangement_count(std::int32_t experts, std::int32_t devices) {
  std::int64_t count = 1;
  std::int32_t left = experts;
  for (std::int32_t d = 0; d + 1 < devices; ++d) {           // the last device takes what is left
    for (std::int32_t i = 1; i <= experts / devices; ++i) {  // times a binomial coefficient, factor by factor
      count = count * left / i;
      --left;
      if (count > most_arrangements * most_arrangements) return most_arrangements + 1;
    }
  }
  return count <= most_arrangements ? count : most_arrangements + 1;
}

inline status check_exact_placement(const offline::transition_trace& trace, std::int32_t devices) {
  checks c;
  c.also(check_trace(trace));
  c.in_range(devices >= 1 && devices <= trace.experts && trace.experts % devices == 0, "devices");
  if (!c.result().ok()) return c.result();
  return c.in_range(arrangement_count(trace.experts, devices) <= most_arrangements, "experts").result();
}

struct exact_placement_scratch {
  std::int32_t* arrangements;  // [N,E] in lexicographic order
  std::int64_t* fewest;        // [2,N] crossings up to a layer that is arranged so
  std::int32_t* before;        // [L,N] arrangement of the layer before that gives them
  std::int64_t* stays;         // [E,P] transitions to expert b that stay when it is on a device

  exact_placement_scratch(workspace_carver& carver, const offline::transition_trace& trace, std::int32_t devices) {
    const std::int64_t count = arrangement_count(trace.experts, devices);
    arrangements = carver.take<std::int32_t>(count * trace.experts);
    fewest = carver.take<std::int64_t>(2 * count);
    before = carver.take<std::int32_t>(trace.layers * count);
    stays = carver.take<std::int64_t>(std::int64_t{trace.experts} * devices);
  }
};

}  // namespace detail

namespace offline {

//! Bytes of workspace that place_experts_exactly needs; 0 where it refuses.
inline std::size_t place_experts_exactly_workspace_bytes(const transition_trace& trace, std::int32_t devices) {
  if (!detail::check_exact_placement(trace, devices).ok()) return 0;
  detail::workspace_carver counter;
  detail::exact_placement_scratch(counter, trace, devices);
  return counter.bytes();
}

//! Places the experts of every layer on devices, E / P each, with the fewest crossings that there can be.
//!
//! Equation   min sum over l, a, b of counts(l,a,b) where place(l,a) != place(l + 1,b)   ExFlow, arXiv 2401.08383
//!            a layer's cost depends on the layer before alone: the fewest crossings up to each arrangement of a layer
//! Inputs     trace, with N = E! / ((E / P)!)^P <= 4096 arrangements of a layer
//! Outputs    placement int32[L,E]; crossings: its own, nullable
//! Contract   integers, ties to the first in lexicographic order
//! Errors     out_of_range (layers, counts, devices, experts: too many arrangements), index_overflow (counts),
//!            null_pointer (counts, placement), workspace_too_small
//! Resources  place_experts_exactly_workspace_bytes: 4 N (L + E + 4), 8 E P, and padding; no allocation
//! Cost       O(L N (N E + E^2))
//! Example    test/offline/exact_placement_test.cpp
inline status place_experts_exactly(const transition_trace& trace, std::int32_t devices, std::int32_t* placement,
                                    crossing_count* crossings, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_exact_placement(trace, devices)).present(placement, true, "placement");
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, place_experts_exactly_workspace_bytes(trace, devices)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  const detail::exact_placement_scratch s(carver, trace, devices);
  const std::int64_t experts = trace.experts;
  const std::int64_t count = detail::arrangement_count(trace.experts, devices);
  for (std::int64_t e = 0; e < experts; ++e) s.arrangements[e] = static_cast<std::int32_t>(e / (experts / devices));
  for (std::int64_t n = 1; n < count; ++n) {
    std::int32_t* own = s.arrangements + n * experts;
    std::copy(own - experts, own, own);
    std::next_permutation(own, own + experts);
  }
  for (std::int64_t n = 0; n < count; ++n) s.fewest[n] = 0;
  for (std::int64_t layer = 1; layer < trace.layers; ++layer) {
    const std::int64_t* up_to = s.fewest + (layer - 1) % 2 * count;
    std::int64_t* with_this = s.fewest + layer % 2 * count;
    std::int32_t* before = s.before + layer * count;
    for (std::int64_t from = 0; from < count; ++from) {
      std::int64_t all = 0;
      for (std::int64_t i = 0; i < experts * devices; ++i) s.stays[i] = 0;
      for (std::int64_t a = 0; a < experts; ++a) {
        for (std::int64_t b = 0; b < experts; ++b) {
          const std::int64_t moved = trace.count(layer - 1, a, b);
          s.stays[b * devices + s.arrangements[from * experts + a]] += moved;
          all += moved;
        }
      }
      for (std::int64_t n = 0; n < count; ++n) {
        std::int64_t crossing = up_to[from] + all;
        for (std::int64_t b = 0; b < experts; ++b) crossing -= s.stays[b * devices + s.arrangements[n * experts + b]];
        if (from > 0 && crossing >= with_this[n]) continue;
        with_this[n] = crossing;
        before[n] = static_cast<std::int32_t>(from);
      }
    }
  }
  const std::int64_t* fewest = s.fewest + (trace.layers - 1) % 2 * count;
  std::int64_t best = std::min_element(fewest, fewest + count) - fewest;
  for (std::int64_t layer = trace.layers - 1; layer >= 0; --layer) {
    std::copy_n(s.arrangements + best * experts, experts, placement + layer * experts);
    if (layer > 0) best = s.before[layer * count + best];
  }
  if (crossings != nullptr) *crossings = detail::crossings_of(trace, placement);
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

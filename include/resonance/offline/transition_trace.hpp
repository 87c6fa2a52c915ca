// SPDX-License-Identifier: Apache-2.0
//! \file
//! Recorded transitions between the experts of neighbouring layers, and how many of them leave a device.
#ifndef RESONANCE_OFFLINE_TRANSITION_TRACE_HPP
#define RESONANCE_OFFLINE_TRANSITION_TRACE_HPP

#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

//! How often tokens went from expert a of layer l to expert b of layer l + 1: counts[l][a][b], as
//! balance::host_transition_counts fills a table per l. Every layer has as many experts.
struct transition_trace {
  const std::int64_t* counts = nullptr;  //!< [L - 1, E, E], >= 0, 2^46 in all at most
  std::int32_t layers = 0;               //!< L >= 1
  std::int32_t experts = 0;              //!< E, 32768 at most

  constexpr std::int64_t table() const { return std::int64_t{experts} * experts; }
  constexpr std::int64_t count(std::int64_t layer, std::int64_t a, std::int64_t b) const {
    return counts[layer * table() + a * experts + b];
  }
  constexpr std::int64_t places() const { return std::int64_t{layers} * experts; }
};

//! Transitions that leave a device, of all.
struct crossing_count {
  std::int64_t crossing = 0;
  std::int64_t total = 0;

  constexpr double share() const {
    return total > 0 ? static_cast<double>(crossing) / static_cast<double>(total) : 0.0;
  }
};

}  // namespace offline

namespace detail {

inline status check_trace(const offline::transition_trace& trace) {
  constexpr std::int64_t most = std::int64_t{1} << 46;  // times E still fits 64 bits
  checks c;
  c.in_range(trace.layers >= 1, "layers").in_range(trace.experts >= 1 && trace.experts <= 32768, "experts");
  c.present(trace.counts, trace.layers > 1, "counts");
  if (!c.result().ok()) return c.result();
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < (trace.layers - 1) * trace.table() && c.result().ok(); ++i) {
    c.in_range(trace.counts[i] >= 0, "counts").fits(trace.counts[i] <= most - total, "counts");
    total += c.result().ok() ? trace.counts[i] : 0;
  }
  return c.result();
}

//! `balanced`: every device holds as many experts of every layer.
inline status check_placement(const offline::transition_trace& trace, const std::int32_t* placement,
                              std::int32_t devices, bool balanced, const char* argument) {
  checks c;
  c.in_range(devices >= 1, "devices").present(placement, true, argument);
  for (std::int64_t i = 0; i < trace.places() && c.result().ok(); ++i)
    c.in_range(placement[i] >= 0 && placement[i] < devices, argument);
  for (std::int64_t layer = 0; balanced && layer < trace.layers; ++layer) {
    for (std::int32_t d = 0; d < devices && c.result().ok(); ++d) {
      std::int64_t held = 0;
      for (std::int64_t e = 0; e < trace.experts; ++e) held += placement[layer * trace.experts + e] == d ? 1 : 0;
      c.in_range(held * devices == trace.experts, argument);
    }
  }
  return c.result();
}

inline offline::crossing_count crossings_of(const offline::transition_trace& trace, const std::int32_t* placement) {
  offline::crossing_count found;
  for (std::int64_t layer = 0; layer + 1 < trace.layers; ++layer) {
    const std::int32_t* here = placement + layer * trace.experts;
    const std::int32_t* next = here + trace.experts;
    for (std::int64_t a = 0; a < trace.experts; ++a) {
      for (std::int64_t b = 0; b < trace.experts; ++b) {
        const std::int64_t count = trace.count(layer, a, b);
        found.total += count;
        found.crossing += here[a] != next[b] ? count : 0;
      }
    }
  }
  return found;
}

}  // namespace detail

namespace offline {

//! The share of an expert's tokens that go to each expert of the next layer.
//!
//! Equation   P(p|i) = counts(i,p) / sum_p counts(i,p)   ExFlow, arXiv 2401.08383
//! Inputs     counts int64[E,E] >= 0 (balance::host_transition_counts)
//! Outputs    affinity double[E,E]: rows with sum 1, or all 0 where nothing came from i
//! Contract   integers, one division each
//! Errors     out_of_range (experts, counts), index_overflow (counts: 2^46 in all), null_pointer (counts, affinity)
//! Resources  none
//! Cost       O(E^2)
//! Example    test/offline/placement_test.cpp
inline status conditional_affinity(const std::int64_t* counts, std::int32_t experts, double* affinity) {
  const transition_trace trace{counts, 2, experts};
  const status checked = detail::checks{}.also(detail::check_trace(trace)).present(affinity, true, "affinity").result();
  if (!checked.ok()) return checked;
  for (std::int64_t i = 0; i < experts; ++i) {
    std::int64_t from = 0;
    for (std::int64_t p = 0; p < experts; ++p) from += trace.count(0, i, p);
    for (std::int64_t p = 0; p < experts; ++p)
      affinity[i * experts + p] =
          from > 0 ? static_cast<double>(trace.count(0, i, p)) / static_cast<double>(from) : 0.0;
  }
  return {};
}

//! Counts the transitions that a placement of experts sends from one device to another.
//!
//! Equation   sum over l, a, b of counts(l,a,b) where place(l,a) != place(l + 1,b)   ExFlow's objective, by counts
//!            instead of by tokens
//! Inputs     trace; placement int32[L,E], device of every expert of every layer, in [0, devices); balanced or not
//! Outputs    crossings: of all transitions
//! Contract   integers
//! Errors     out_of_range (layers, experts, counts, devices, placement), index_overflow (counts), null_pointer
//! Resources  none
//! Cost       O(L E^2)
//! Example    test/offline/placement_test.cpp
inline status count_crossings(const transition_trace& trace, const std::int32_t* placement, std::int32_t devices,
                              crossing_count* crossings) {
  detail::checks c;
  c.also(detail::check_trace(trace));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_placement(trace, placement, devices, false, "placement"));
  c.present(crossings, true, "crossings");
  if (!c.result().ok()) return c.result();
  *crossings = detail::crossings_of(trace, placement);
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! How often tokens go from an expert of one layer to an expert of the next.
#ifndef RESONANCE_BALANCE_HOST_TRANSITIONS_HPP
#define RESONANCE_BALANCE_HOST_TRANSITIONS_HPP

#include <cstdint>

#include <resonance/balance/transitions.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! Counts the transitions between the experts of two layers, from what the layers chose for the same tokens.
//!
//! Equation   counts(a,b) = number of tokens with from = a and to = b   ExFlow, arXiv 2401.08383
//!            with K > 1: number of pairs of slots, one of each layer, of the same token: K K' per token
//! Inputs     from, to: ids of T tokens, regular or ragged; an id outside its layer's experts is in no pair
//! Outputs    counts int64[E,E'] strided: all of it, nothing is added to what is there
//! Contract   integers: same result at any worker count
//! Errors     what check_assignments refuses, as from or to; null_pointer (counts), shape_mismatch (to, counts)
//! Resources  none
//! Cost       the ids of `from` once per worker, those of `to` once per assigned slot of `from`
//! Example    test/balance/host_transitions_test.cpp
template <class Executor>
status host_transition_counts(const Executor& executor, const assignment_view& from, const assignment_view& to,
                              matrix_view<std::int64_t> counts) {
  const status checked =
      detail::check_transitions(detail::check_assignments(from), detail::check_assignments(to), from, to, counts);
  if (!checked.ok()) return checked;
  constexpr std::int64_t least_slots = 32768;
  // A worker owns rows of counts, so that nobody waits for or adds up another's.
  detail::for_pieces(executor, from.experts, detail::grain_of_groups(from.experts, from.slots(), least_slots),
                     [&](std::int64_t begin, std::int64_t end, int) {
                       for (std::int64_t a = begin; a < end; ++a)
                         for (std::int64_t b = 0; b < to.experts; ++b) counts.row(a)[b] = 0;
                       for (std::int64_t t = 0; t < from.tokens; ++t) {
                         for (std::int64_t slot = from.begin(t); slot < from.end(t); ++slot) {
                           const std::int32_t a = from.ids[slot];
                           if (a < begin || a >= end) continue;
                           for (std::int64_t next = to.begin(t); next < to.end(t); ++next)
                             if (to.assigned(next)) ++counts.row(a)[to.ids[next]];
                         }
                       }
                     });
  return {};
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

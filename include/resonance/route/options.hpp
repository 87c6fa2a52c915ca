// SPDX-License-Identifier: Apache-2.0
//! \file
//! What a router is told and where it writes: the stages' own options and outputs, side by side.
#ifndef RESONANCE_ROUTE_OPTIONS_HPP
#define RESONANCE_ROUTE_OPTIONS_HPP

#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/plan/plan.hpp>
#include <resonance/prune/options.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace route {

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order>
struct options {
  Metric metric{};
  Score score{};
  Selection selection{};
  Merge merge{};
  Capacity capacity{};
  Order order{};
  token_choice::options choice{};  //!< top_k, correction_bias, renormalize, ...
  prune::options prune{};          //!< shared, capacity_cap, ...; hidden is taken from hidden states where it is 0
  plan::options plan{};            //!< tile_tokens, expert_map, ...

  //! C of the experts' own choice, for merges that ask the experts; -1 = what the capacity rule gives an expert whose
  //! members are all tokens.
  std::int64_t expert_capacity = -1;
};

//! Where a route is written. Every pointer is nullable: what is not asked for is not written.
template <class Index = std::int32_t>
struct outputs {
  choice_buffers choice{};        //!< [T,K] the tokens' choice, before the merge
  matrix_view<float> affinity{};  //!< [T,E] every delta
  prune::outputs prune{};         //!< kept ids and weights per slot, figures per expert
  plan::outputs<Index> plan{};    //!< no plan is made where expert_offsets is null

  //! restricted, token_only: rank_in_expert; intersection: also ids; union_, expert_only: all arrays or none, and
  //! `capacity` >= host_route_slots(...).
  assignment_buffers merged{};
};

}  // namespace route
RESONANCE_NAMESPACE_END

#endif

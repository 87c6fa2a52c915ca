// SPDX-License-Identifier: Apache-2.0
//! \file
//! What pruning is told beside its rule and order, and where it writes.
#ifndef RESONANCE_PRUNE_OPTIONS_HPP
#define RESONANCE_PRUNE_OPTIONS_HPP

#include <resonance/config.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace prune {

struct options {
  bool shared = false;             //!< one C = max_i C_i for every expert (what drop-and-pad needs)
  std::int64_t capacity_cap = -1;  //!< C_i = min(C_i, cap) under every rule; -1 = no cap
  std::int64_t hidden = 0;         //!< H, for lower_bound
  std::int32_t top_k = 0;          //!< K, for the rules that read it; 0 = assignments.slots_per_token
  //! [1] The batch's delta_max for the rules that read it, in the backend's memory; null = the largest affinity of the
  //! assignments. For merges that lose or add pairs: reading D1 means the pairs that the tokens chose.
  const float* delta_max = nullptr;
  bool renormalize = false;  //!< divide each token's kept weights by their sum, where that is > 0
};

//! Where pruning writes. `ids` is required, the others are nullable.
struct outputs {
  std::int32_t* ids = nullptr;         //!< [slots] expert id, -1 where dropped or unassigned; may alias the input's
  float* weights = nullptr;            //!< [slots] 0 where dropped or unassigned; may alias the input's
  std::int64_t* capacities = nullptr;  //!< [E] C_i
  std::int64_t* kept = nullptr;        //!< [E]
  std::int64_t* dropped = nullptr;     //!< [E]
  double* assigned_mass = nullptr;     //!< [E] sum of max(delta, 0) over A_i
  double* kept_mass = nullptr;         //!< [E] the same over what is kept
  float* delta_max = nullptr;          //!< [1] largest affinity of an assigned slot, -inf where there is none
};

}  // namespace prune

RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! ExFlow, context-coherent expert parallelism (arXiv 2401.08383): every device knows every token's context, so that a
//! token stays where its expert was and is sent on from there. Per layer one dispatch, no combine; whether it crosses
//! is up to the placement (offline::place_experts, from balance::host_transition_counts). For decoding, not training.
#ifndef RESONANCE_CATALOGUE_EXFLOW_HPP
#define RESONANCE_CATALOGUE_EXFLOW_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! Rows that all devices exchange in one iteration, in units of a token's row.
struct exflow_traffic {
  double devices = 1;  //!< G
  double tokens = 0;   //!< N per device
  double layers = 0;   //!< L

  //! A dispatch and a combine per layer, p of the tokens elsewhere: 2 G N L p.
  constexpr double with_combine(double crossing) const { return 2 * devices * tokens * layers * crossing; }
  //! A dispatch alone, and at the end an all-gather of the tokens: G N (L p + G).
  double coherent(double crossing) const { return devices * tokens * math::fma(layers, crossing, devices); }
};

//! The expert_map of one device, for its plan of a layer (plan::options).
//!
//! Inputs     placement int32[E], device of every expert of the layer
//! Outputs    expert_map int32[E]: the device's experts from 0 on in rising order, -1 elsewhere; num_local int32[1]
//! Errors     out_of_range (experts), null_pointer
//! Example    test/catalogue/exflow_test.cpp
inline status exflow_expert_map(const std::int32_t* placement, std::int32_t experts, std::int32_t device,
                                std::int32_t* expert_map, std::int32_t* num_local) {
  detail::checks c;
  c.in_range(experts >= 1, "experts").present(placement, true, "placement").present(expert_map, true, "expert_map");
  c.present(num_local, true, "num_local");
  if (!c.result().ok()) return c.result();
  *num_local = 0;
  for (std::int32_t e = 0; e < experts; ++e) expert_map[e] = placement[e] == device ? (*num_local)++ : -1;
  return {};
}

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! How much each expert is used, from recorded routes.
#ifndef RESONANCE_OFFLINE_USAGE_HPP
#define RESONANCE_OFFLINE_USAGE_HPP

#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

//! Where usage writes; both nullable.
struct usage_outputs {
  double* activation_share = nullptr;  //!< [E] phi_i
  double* mean_weight = nullptr;       //!< [E] w_i
};

//! Measures how often every expert is chosen, and with what weight.
//!
//! Equation   phi_i = n_i / N, n_i = slots with expert i; w_i = (1/N) sum of their weights   MC, arXiv 2410.06270 (PMQ)
//! Inputs     routes: ids, and weights where mean_weight is given (regular or ragged); N = routes.tokens
//! Outputs    see usage_outputs; 0 for N = 0. An even split sums to K, and to 1 where weights are renormalized
//! Contract   slots in order, in double
//! Errors     null_pointer (assignments.ids, assignments.weights), the assignments' shape
//! Resources  no workspace, no allocation
//! Cost       8 bytes per slot
//! Example    test/offline/usage_test.cpp
inline status usage(const assignment_view& routes, const usage_outputs& out) {
  const status shape = detail::check_assignments(routes);
  const status checked = detail::checks{}
                             .also(shape)
                             .present(routes.weights, shape.ok() && routes.slots() > 0 && out.mean_weight != nullptr,
                                      "assignments.weights")
                             .result();
  if (!checked.ok()) return checked;
  const auto add_up = [&](double* sums, const auto& term) {
    if (sums == nullptr) return;
    for (std::int32_t e = 0; e < routes.experts; ++e) sums[e] = 0.0;
    for (std::int64_t slot = 0; slot < routes.slots(); ++slot)
      if (routes.assigned(slot)) sums[routes.ids[slot]] += term(slot);
    for (std::int32_t e = 0; e < routes.experts && routes.tokens > 0; ++e)
      sums[e] /= static_cast<double>(routes.tokens);
  };
  add_up(out.activation_share, [](std::int64_t) { return 1.0; });
  add_up(out.mean_weight, [&](std::int64_t slot) { return static_cast<double>(routes.weights[slot]); });
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

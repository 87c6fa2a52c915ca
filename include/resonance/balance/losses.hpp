// SPDX-License-Identifier: Apache-2.0
//! \file
//! Balance losses and load figures from per-expert numbers (SEMANTICS 9). All in double, experts in rising order.
#ifndef RESONANCE_BALANCE_LOSSES_HPP
#define RESONANCE_BALANCE_LOSSES_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! The load-balance loss.
//!
//! Equation   L_aux = alpha * E * sum_i f_i P_i, f_i = tokens_per_expert[i] / their sum   ETR; Switch Transformer Eq. 4
//! Inputs     tokens_per_expert int[E], mean_probability double[E] (host_router_statistics)
//! Contract   alpha at uniform load and probability; 0 when nothing is assigned
template <class Count>
RESONANCE_HOST_DEVICE double load_balance_loss(double alpha, std::int32_t experts, const Count* tokens_per_expert,
                                               const double* mean_probability) {
  double total = 0.0;
  double sum = 0.0;
  for (std::int32_t e = 0; e < experts; ++e) {
    total += static_cast<double>(tokens_per_expert[e]);
    sum = math::fma(static_cast<double>(tokens_per_expert[e]), mean_probability[e], sum);
  }
  return total > 0.0 ? alpha * static_cast<double>(experts) * sum / total : 0.0;
}

//! The load-balance loss of experts that cost differently: full ones, and others that are loaded 1 / tau as much.
//!
//! Equation   L_b = sum_i eta_i f_i P_i, eta = 1 for full experts, tau for the others, f_i = tokens_per_expert[i] /
//!            tokens   MoE++, arXiv 2410.07348; its factor beta is the caller's
//! Inputs     tokens_per_expert int[E], mean_probability double[E] (host_router_statistics); tokens T: f adds up to K,
//!            where load_balance_loss divides by T * K
//!            full_experts: the ids below it are full, the others (zero-computation) are not
//! Contract   tau = 1: K / E times load_balance_loss(1, ...), up to rounding; 0 without tokens
template <class Count>
RESONANCE_HOST_DEVICE double heterogeneous_balance_loss(double tau, std::int32_t experts, std::int32_t full_experts,
                                                        std::int64_t tokens, const Count* tokens_per_expert,
                                                        const double* mean_probability) {
  double full = 0.0;
  double others = 0.0;
  for (std::int32_t e = 0; e < experts; ++e) {
    double& sum = e < full_experts ? full : others;
    sum = math::fma(static_cast<double>(tokens_per_expert[e]), mean_probability[e], sum);
  }
  return tokens > 0 ? math::fma(tau, others, full) / static_cast<double>(tokens) : 0.0;
}

//! The locality loss: how far the batch's distribution over experts is from a fully local one.
//!
//! Equation   L_loc = mu * sum_i D_c(i) ln(D_c(i) / D_l(i)), D_l = (1 - eps) / |L| on local experts, eps / (E - |L|)
//!            elsewhere (uniform over all when every expert is local)   ETR, LocMoE; KL(D_c || D_l), in this direction
//! Inputs     distribution double[E] >= 0 with sum 1: mean probability, or share of assignments
//!            is_local bool[E]
//! Contract   terms with D_c(i) = 0 are 0; +inf where eps = 0 and mass leaves the local experts
//! Errors     null_pointer, out_of_range (epsilon outside [0,1), no local expert); *loss is then untouched
inline status locality_loss(double mu, double epsilon, std::int32_t experts, const double* distribution,
                            const bool* is_local, double* loss) {
  detail::checks c;
  c.in_range(experts >= 1, "experts");
  c.in_range(epsilon >= 0.0 && epsilon < 1.0, "epsilon");
  c.present(distribution, true, "distribution").present(is_local, true, "is_local").present(loss, true, "loss");
  if (!c.result().ok()) return c.result();
  std::int32_t local = 0;
  for (std::int32_t e = 0; e < experts; ++e) local += is_local[e] ? 1 : 0;
  c.in_range(local >= 1, "is_local");
  if (!c.result().ok()) return c.result();
  const double inside = (local == experts ? 1.0 : 1.0 - epsilon) / local;
  const double outside = local == experts ? 0.0 : epsilon / (experts - local);
  double sum = 0.0;
  for (std::int32_t e = 0; e < experts; ++e) {
    if (!(distribution[e] > 0.0)) continue;
    sum = math::fma(distribution[e], std::log(distribution[e] / (is_local[e] ? inside : outside)), sum);
  }
  *loss = mu * sum;
  return {};
}

//! Largest load over mean load; 1 is perfect balance, 0 when nothing is assigned.
template <class Count>
RESONANCE_HOST_DEVICE double max_over_mean_load(std::int32_t experts, const Count* tokens_per_expert) {
  double total = 0.0;
  double most = 0.0;
  for (std::int32_t e = 0; e < experts; ++e) {
    const double load = static_cast<double>(tokens_per_expert[e]);
    total += load;
    most = load > most ? load : most;
  }
  return total > 0.0 ? most * static_cast<double>(experts) / total : 0.0;
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

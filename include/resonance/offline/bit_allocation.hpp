// SPDX-License-Identifier: Apache-2.0
//! \file
//! How many bits the weights of each expert get under a budget: 1, 2 or 3.
#ifndef RESONANCE_OFFLINE_BIT_ALLOCATION_HPP
#define RESONANCE_OFFLINE_BIT_ALLOCATION_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

inline constexpr std::int32_t most_bits = 3;

//! What it costs to store the experts of one layer coarsely.
struct bit_costs {
  const double* activation_share = nullptr;  //!< [E] phi_i >= 0 (usage)
  const double* mean_weight = nullptr;       //!< [E] w_i >= 0 (usage)
  const double* error = nullptr;             //!< [E,3] eps_ib >= 0: what the layer's output loses with i at b = 1, 2, 3
  double alpha = 1.0;                        //!< exponents, >= 0
  double beta = 1.0;
  double gamma = 2.0;

  double of(std::int32_t expert, std::int32_t bits) const {
    const double use = std::pow(activation_share[expert], alpha) * std::pow(mean_weight[expert], beta);
    return use * std::pow(error[std::int64_t{expert} * most_bits + bits - 1], gamma);
  }
};

}  // namespace offline

namespace detail {

//! The least costs of the experts from one on, by the bits left for them and by what is still to be handed out.
class bit_table {
 public:
  enum : int { no_two_yet = 1, no_three_yet = 2, states = 4 };

  //! What is still to be handed out after an expert got `bits`.
  static int after(int state, std::int32_t bits) {
    return bits == 1 ? state : state & ~(bits == 2 ? no_two_yet : no_three_yet);
  }

  bit_table(workspace_carver& carver, std::int32_t experts, std::int64_t total_bits)
      : row_((total_bits + 1) * states),
        costs_(carver.take<double>(std::int64_t{experts} * offline::most_bits)),
        best_(carver.take<double>((std::int64_t{experts} + 1) * row_)) {}

  double& cost(std::int64_t expert, std::int32_t bits) { return costs_[expert * offline::most_bits + bits - 1]; }
  double& best(std::int64_t expert, std::int64_t left, int state) {
    return best_[expert * row_ + left * states + state];
  }

  //! The cost of an expert with `bits` and the best of those after it; +inf where that can't be.
  double with(std::int64_t expert, std::int64_t left, int state, std::int32_t bits) {
    return bits > left ? HUGE_VAL : cost(expert, bits) + best(expert + 1, left - bits, after(state, bits));
  }
  //! The cheapest bits of an expert.
  std::int32_t choose(std::int64_t expert, std::int64_t left, int state) {
    std::int32_t found = 1;
    for (std::int32_t b = 2; b <= offline::most_bits; ++b)
      if (with(expert, left, state, b) < with(expert, left, state, found)) found = b;
    return found;
  }

 private:
  std::int64_t row_;
  double* costs_;  // [E, 3]
  double* best_;   // [E + 1, total_bits + 1, states]
};

inline status check_allocate_bits(const offline::bit_costs& costs, std::int32_t experts, std::int64_t total_bits,
                                  const std::int32_t* bits) {
  constexpr std::int32_t most_experts = 1 << 20;
  checks c;
  c.in_range(experts >= 2, "experts").fits(experts <= most_experts, "experts");
  c.in_range(total_bits >= std::int64_t{experts} + 3, "total_bits");                       // a 3, a 2 and 1s
  c.in_range(total_bits <= std::int64_t{experts} * offline::most_bits - 1, "total_bits");  // a 2 and 3s
  c.present(costs.activation_share, true, "activation_share").present(costs.mean_weight, true, "mean_weight");
  c.present(costs.error, true, "error").present(bits, true, "bits");
  const auto is_exponent = [](double x) { return x >= 0.0 && x <= 1.0e6; };
  c.in_range(is_exponent(costs.alpha), "alpha").in_range(is_exponent(costs.beta), "beta");
  c.in_range(is_exponent(costs.gamma), "gamma");
  if (!c.result().ok()) return c.result();
  constexpr double most = std::numeric_limits<double>::max();
  for (std::int32_t e = 0; e < experts; ++e) {
    c.in_range(costs.activation_share[e] >= 0.0 && costs.activation_share[e] <= most, "activation_share");
    c.in_range(costs.mean_weight[e] >= 0.0 && costs.mean_weight[e] <= most, "mean_weight");
    for (std::int32_t b = 1; b <= offline::most_bits; ++b)
      c.in_range(costs.error[std::int64_t{e} * offline::most_bits + b - 1] >= 0.0 && costs.of(e, b) <= most / experts,
                 "error");  // their sum is finite then
  }
  return c.result();
}

}  // namespace detail

namespace offline {

//! Bytes of workspace that allocate_bits needs: 32 (E + 1) (total_bits + 1) and 24 E.
inline std::size_t allocate_bits_workspace_bytes(std::int32_t experts, std::int64_t total_bits) {
  if (experts < 1 || total_bits < 1) return 0;
  detail::workspace_carver counter;
  detail::bit_table(counter, experts, total_bits);
  return counter.bytes();
}

//! Gives every expert of a layer 1, 2 or 3 bits at the least total cost.
//!
//! Equation   min sum_i phi_i^alpha w_i^beta eps_{i,b_i}^gamma  s.t. sum_i b_i = total_bits, at least one 3 and one 2
//!            MC, arXiv 2410.06270 (PMQ): an integer program, solved exactly over (expert, bits left, what is missing)
//! Inputs     costs; experts E >= 2; total_bits in [E + 3, 3 E - 1]: what those constraints leave
//! Outputs    bits int32[E]; cost double[1], nullable: the least total
//! Contract   exact but for the rounding of the sums, from the last expert to the first; equal costs: fewer bits to the
//!            earlier expert. A common factor of phi or w changes nothing
//! Errors     out_of_range (experts, total_bits, alpha, beta, gamma, activation_share, mean_weight, error),
//!            index_overflow (experts), null_pointer (activation_share, mean_weight, error, bits), workspace_too_small
//! Resources  allocate_bits_workspace_bytes; no allocation
//! Cost       O(E * total_bits)
//! Example    test/offline/bit_allocation_test.cpp
inline status allocate_bits(const bit_costs& costs, std::int32_t experts, std::int64_t total_bits, std::int32_t* bits,
                            double* cost, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_allocate_bits(costs, experts, total_bits, bits));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, allocate_bits_workspace_bytes(experts, total_bits)));
  if (!c.result().ok()) return c.result();

  using table = detail::bit_table;
  detail::workspace_carver carver(workspace.data);
  table t(carver, experts, total_bits);
  for (std::int32_t e = 0; e < experts; ++e)
    for (std::int32_t b = 1; b <= most_bits; ++b) t.cost(e, b) = costs.of(e, b);
  for (std::int64_t left = 0; left <= total_bits; ++left)
    for (int state = 0; state < table::states; ++state)
      t.best(experts, left, state) = left == 0 && state == 0 ? 0.0 : HUGE_VAL;
  for (std::int32_t e = experts - 1; e >= 0; --e)
    for (std::int64_t left = 0; left <= total_bits; ++left)
      for (int state = 0; state < table::states; ++state)
        t.best(e, left, state) = t.with(e, left, state, t.choose(e, left, state));

  std::int64_t left = total_bits;
  int state = table::no_two_yet | table::no_three_yet;
  if (cost != nullptr) *cost = t.best(0, left, state);
  for (std::int32_t e = 0; e < experts; ++e) {
    bits[e] = t.choose(e, left, state);
    left -= bits[e];
    state = table::after(state, bits[e]);
  }
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
// Section 11 of the contract: closed forms that simulations and capacity rules are held to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

//! P[Bin(trials, chance) <= successes].
inline double binomial_cdf(long long successes, long long trials, double chance) {
  if (successes < 0) return 0;
  if (successes >= trials || chance <= 0) return 1;
  if (chance >= 1) return 0;
  const double n = static_cast<double>(trials);
  double sum = 0;
  for (long long s = 0; s <= successes; ++s) {
    const double k = static_cast<double>(s);
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) + k * std::log(chance) +
                    (n - k) * std::log1p(-chance));
  }
  return std::min(sum, 1.0);
}

//! ETR Theorem 5, token choice: (1/(E*T)) sum_i p_i sum_{k=1..T} P[Bin(k-1, 1/E) < C].
inline double token_choice_success(std::size_t tokens, const std::vector<double>& expert_success,
                                   std::size_t capacity) {
  const double experts = static_cast<double>(expert_success.size());
  double sum_of_chances = 0;
  for (double p : expert_success) sum_of_chances += p;
  double sum_over_positions = 0;
  for (std::size_t k = 1; k <= tokens; ++k)
    sum_over_positions +=
        binomial_cdf(static_cast<long long>(capacity) - 1, static_cast<long long>(k) - 1, 1 / experts);
  return sum_of_chances * sum_over_positions / (experts * static_cast<double>(tokens));
}

//! ETR Theorem 5, expert choice: (1/E) sum_i P[Bin(T-1, q_i) <= C-1].
inline double expert_choice_success(std::size_t tokens, const std::vector<double>& misleading, std::size_t capacity) {
  double sum = 0;
  for (double q : misleading)
    sum += binomial_cdf(static_cast<long long>(capacity) - 1, static_cast<long long>(tokens) - 1, q);
  return sum / static_cast<double>(misleading.size());
}

//! ln C_min of ETR Remark 7, C_min = (1/E) exp(H m^2/(2 - m^2)); +inf where m^2 >= 2.
inline double log_capacity_lower_bound(double delta_max, std::size_t hidden, std::size_t experts) {
  const double square = delta_max * delta_max;
  if (square >= 2) return HUGE_VAL;
  return static_cast<double>(hidden) * square / (2 - square) - std::log(static_cast<double>(experts));
}

inline double capacity_lower_bound(double delta_max, std::size_t hidden, std::size_t experts) {
  return std::exp(log_capacity_lower_bound(delta_max, hidden, experts));
}

//! The delta at which C_min reaches `capacity`.
inline double delta_of_capacity(double capacity, std::size_t hidden, std::size_t experts) {
  const double log_total = std::log(static_cast<double>(experts) * capacity);
  return std::sqrt(2 * log_total / (static_cast<double>(hidden) + log_total));
}

}  // namespace reference

// SPDX-License-Identifier: Apache-2.0
// Section 9 of the contract: losses and statistics. Means over nothing are 0.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/order.hpp"
#include "reference/score.hpp"
#include "reference/table.hpp"

namespace reference {

//! P_i: the mean over tokens of the router probability of expert i.
inline std::vector<double> mean_probability(const matrix& probabilities) {
  std::vector<double> mean(probabilities.cols, 0.0);
  for (std::size_t t = 0; t < probabilities.rows; ++t)
    for (std::size_t e = 0; e < probabilities.cols; ++e)
      mean[e] += probabilities(t, e) / static_cast<double>(probabilities.rows);
  return mean;
}

inline std::vector<std::size_t> tokens_per_expert(const id_table& ids, std::size_t experts) {
  std::vector<std::size_t> counts(experts, 0);
  for (std::int32_t id : ids.values)
    if (names_expert(id, experts)) ++counts[static_cast<std::size_t>(id)];
  return counts;
}

//! f_i: the share of all assignments that expert i has, so that the shares add up to 1 at any K.
inline std::vector<double> assignment_share(const std::vector<std::size_t>& counts) {
  double total = 0;
  for (std::size_t count : counts) total += static_cast<double>(count);
  std::vector<double> share(counts.size(), 0.0);
  for (std::size_t e = 0; total > 0 && e < counts.size(); ++e) share[e] = static_cast<double>(counts[e]) / total;
  return share;
}

//! alpha * E * sum_i f_i P_i
inline double auxiliary_loss(const std::vector<double>& share, const std::vector<double>& probability, double alpha) {
  double sum = 0;
  for (std::size_t e = 0; e < share.size(); ++e) sum += share[e] * probability[e];
  return alpha * static_cast<double>(share.size()) * sum;
}

//! sum_i eta_i f_i P_i, eta = 1 below full_experts, tau from there on; f_i = count / tokens (MoE++).
inline double heterogeneous_loss(const std::vector<std::size_t>& counts, const std::vector<double>& probability,
                                 double tau, std::size_t full_experts, std::size_t tokens) {
  double sum = 0;
  for (std::size_t e = 0; tokens > 0 && e < counts.size(); ++e)
    sum +=
        (e < full_experts ? 1.0 : tau) * static_cast<double>(counts[e]) / static_cast<double>(tokens) * probability[e];
  return sum;
}

//! Mean over tokens of logsumexp(logits)^2; NaN and -inf are left out, and a row without any other value adds 0.
inline double z_loss(const matrix& logits, double largest_finite = FLT_MAX) {
  double sum = 0;
  for (std::size_t t = 0; t < logits.rows; ++t) {
    double largest = absent;
    for (double value : logits.row(t)) largest = std::max(largest, ranked_value(value, largest_finite));
    if (largest == absent) continue;
    double exponentials = 0;
    for (double value : logits.row(t))
      if (choosable(value)) exponentials += std::exp(ranked_value(value, largest_finite) - largest);
    const double log_sum = largest + std::log(exponentials);
    sum += log_sum * log_sum;
  }
  return logits.rows == 0 ? 0 : sum / static_cast<double>(logits.rows);
}

//! mu * sum_i D_c(i) ln(D_c(i)/D_l(i)) with D_l = (1-eps)/|L| on local experts and eps/(E-|L|) elsewhere; 0 ln 0 = 0.
inline double locality_loss(const std::vector<double>& current, const std::vector<bool>& local, double eps, double mu) {
  const auto locals = static_cast<double>(std::count(local.begin(), local.end(), true));
  const double others = static_cast<double>(local.size()) - locals;
  double sum = 0;
  for (std::size_t e = 0; e < current.size(); ++e) {
    if (current[e] == 0) continue;
    const double wanted = local[e] ? (1 - eps) / locals : eps / others;
    sum += current[e] * std::log(current[e] / wanted);
  }
  return mu * sum;
}

//! sum_i n_i |c_i - c|^2 / sum_i sum_x |x - c_i|^2 over the rows of x [T,H] assigned by ids [T,K]; a row counts once
//! for every assignment, in the overall centre c too. 0/0 is 0.
inline double calinski_harabasz(const matrix& x, const id_table& ids, std::size_t experts) {
  const std::vector<std::size_t> counts = tokens_per_expert(ids, experts);
  matrix centre_of(experts, x.cols);
  std::vector<double> centre(x.cols, 0.0);
  double total = 0;
  for (std::size_t count : counts) total += static_cast<double>(count);
  for (std::size_t t = 0; t < ids.rows; ++t) {
    for (std::int32_t id : ids.row(t)) {
      if (!names_expert(id, experts)) continue;
      const auto e = static_cast<std::size_t>(id);
      for (std::size_t j = 0; j < x.cols; ++j) {
        centre_of(e, j) += x(t, j) / static_cast<double>(counts[e]);
        centre[j] += x(t, j) / total;
      }
    }
  }
  double between = 0;
  double within = 0;
  for (std::size_t e = 0; e < experts; ++e)
    for (std::size_t j = 0; counts[e] > 0 && j < x.cols; ++j)
      between += static_cast<double>(counts[e]) * (centre_of(e, j) - centre[j]) * (centre_of(e, j) - centre[j]);
  for (std::size_t t = 0; t < ids.rows; ++t) {
    for (std::int32_t id : ids.row(t)) {
      if (!names_expert(id, experts)) continue;
      for (std::size_t j = 0; j < x.cols; ++j) {
        const double distance = x(t, j) - centre_of(static_cast<std::size_t>(id), j);
        within += distance * distance;
      }
    }
  }
  return between == 0 ? 0 : between / within;
}

//! Largest load over mean load; 0 where nothing is assigned.
inline double max_over_mean_load(const std::vector<std::size_t>& counts) {
  double largest = 0;
  for (double share : assignment_share(counts)) largest = std::max(largest, share);
  return largest * static_cast<double>(counts.size());
}

}  // namespace reference

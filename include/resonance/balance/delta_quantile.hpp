// SPDX-License-Identifier: Apache-2.0
//! \file
//! Quantiles of a batch's affinities: which rank is meant, and what both backends check.
#ifndef RESONANCE_BALANCE_DELTA_QUANTILE_HPP
#define RESONANCE_BALANCE_DELTA_QUANTILE_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! The nearest rank of the q-quantile among `count` >= 1 values, from the least: ceil(q * count) in double, and at
//! least 1.
RESONANCE_HOST_DEVICE inline std::int64_t quantile_rank(double q, std::int64_t count) {
  const auto rank = static_cast<std::int64_t>(std::ceil(q * static_cast<double>(count)));
  if (rank < 1) return 1;
  return rank < count ? rank : count;
}

inline status check_delta_quantile(const matrix_view<const float>& affinity, double q, const float* quantile) {
  return checks{}
      .also(check_matrix(affinity, "affinity"))
      .fits(affinity.rows <= 0 || affinity.cols <= max_slots / affinity.rows, "affinity")
      .in_range(q >= 0.0 && q <= 1.0, "q")
      .present(quantile, true, "quantile")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

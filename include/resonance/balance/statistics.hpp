// SPDX-License-Identifier: Apache-2.0
//! \file
//! The order in which both backends add up a batch's statistics, and what both check.
#ifndef RESONANCE_BALANCE_STATISTICS_HPP
#define RESONANCE_BALANCE_STATISTICS_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Tokens are summed in blocks of fixed size, so that the sums do not depend on the workers.
inline constexpr std::int64_t statistics_block = 256;

RESONANCE_HOST_DEVICE constexpr std::int64_t statistics_blocks(std::int64_t tokens) {
  return (tokens + statistics_block - 1) / statistics_block;
}

template <class Row>
status check_router_statistics(const matrix_view<const Row>& logits) {
  return checks{}.also(check_matrix(logits, "logits")).in_range(logits.cols >= 1, "logits").result();
}

//! All but the assignments' shape.
template <class Row>
status check_calinski_harabasz(const matrix_view<const Row>& x, const assignment_view& a, const double* ratio) {
  return checks{}.also(check_matrix(x, "x")).matches(x.rows == a.tokens, "x").present(ratio, true, "ratio").result();
}

//! The ratio of the two sums of Calinski-Harabasz; 0 where both are 0, +inf where only the lower one is.
RESONANCE_HOST_DEVICE inline double scatter_ratio(double between, double within) {
  return within > 0.0 ? between / within : (between > 0.0 ? HUGE_VAL : 0.0);
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! A quantile of a batch's affinities on the host.
#ifndef RESONANCE_BALANCE_HOST_DELTA_QUANTILE_HPP
#define RESONANCE_BALANCE_HOST_DELTA_QUANTILE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <resonance/balance/delta_quantile.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! Bytes of workspace that host_delta_quantile needs: 4 per value.
inline std::size_t host_delta_quantile_workspace_bytes(std::int64_t rows, std::int64_t cols) {
  detail::workspace_carver counter;
  counter.take<std::uint32_t>(rows * cols);
  return counter.bytes();
}

//! Finds the q-quantile of what the tokens chose: a delta_max that one outlier does not move (reading D3 of ETR's
//! bound), or, of ratios of weights, the mu of prune::weight_ratio.
//!
//! Equation   the ceil(q n)-th least of the n values that are there, the least for q = 0 (nearest rank)
//! Inputs     affinity float[T,K] strided, such as topk_affinity; NaN and -inf are absent
//! Outputs    quantile float[1], -inf where no value is there; prune::options.delta_max may point to it
//! Contract   a value of the input, never between two: +inf as the largest finite value, -0 as +0; same bits at any
//!            worker count
//! Errors     null_pointer (affinity, quantile), out_of_range (affinity, q outside [0,1]), index_overflow,
//!            workspace_too_small
//! Resources  host_delta_quantile_workspace_bytes; no allocation
//! Cost       O(T*K)
//! Example    test/balance/host_delta_quantile_test.cpp
template <class Executor>
status host_delta_quantile(const Executor& executor, matrix_view<const float> affinity, double q, float* quantile,
                           workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_delta_quantile(affinity, q, quantile));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, host_delta_quantile_workspace_bytes(affinity.rows, affinity.cols)));
  if (!c.result().ok()) return c.result();

  const std::int64_t count = affinity.rows * affinity.cols;
  auto* keys = detail::workspace_carver(workspace.data).take<std::uint32_t>(count);
  const std::int64_t grain = 65536 / (affinity.cols > 0 ? affinity.cols : 1) + 1;
  detail::for_ranges(executor, affinity.rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t)
      for (std::int64_t k = 0; k < affinity.cols; ++k) keys[t * affinity.cols + k] = order_key(affinity.row(t)[k]);
  });
  const std::int64_t absent = std::count(keys, keys + count, never_chosen);
  *quantile = math::negative_infinity();
  if (absent == count) return {};
  std::uint32_t* found = keys + absent + detail::quantile_rank(q, count - absent) - 1;  // absent keys are the least
  std::nth_element(keys, found, keys + count);
  *quantile = score_of_key(*found);
  return {};
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

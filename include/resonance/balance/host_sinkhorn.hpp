// SPDX-License-Identifier: Apache-2.0
//! \file
//! Balanced assignment on the host: the bias that evens out the experts' shares.
#ifndef RESONANCE_BALANCE_HOST_SINKHORN_HPP
#define RESONANCE_BALANCE_HOST_SINKHORN_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/balance/host_balance.hpp>
#include <resonance/balance/sinkhorn.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! Bytes of workspace that host_sinkhorn needs: 8 (E + 1) per 256 tokens, and 4 E per worker.
template <class Executor>
std::size_t host_sinkhorn_workspace_bytes(const Executor& executor, std::int64_t tokens, std::int64_t experts) {
  return host_router_statistics_workspace_bytes(executor, tokens, experts);
}

//! Finds the bias of a balanced assignment: with it, every expert's mean probability approaches 1/E.
//!
//! Equation   Sinkhorn's iteration on exp(logits), rows to 1/T and columns to 1/E: d1 <- d1 / (E P(d1)), P_i = mean over
//!            tokens of softmax(logits_t + ln d1)_i; the bias is ln d1. The row factors do not change a token's order,
//!            so the best of logits + bias are the best of the balanced plan.   BASE layers (arXiv 2103.16716) as an
//!            optimal transport; Megatron-LM's Sinkhorn balancing with a fixed count of iterations
//! Inputs     logits Row[T,E] strided; NaN and -inf are absent
//! Outputs    correction_bias float[E], for token choice with affinity::identity; read first with warm_start
//! Contract   sums as in host_router_statistics: same bits at any worker count; T = 0 leaves zeros (or the start)
//! Errors     null_pointer (logits, correction_bias), out_of_range (logits, iterations), workspace_too_small
//! Resources  host_sinkhorn_workspace_bytes; no allocation
//! Cost       T*E reads and exponentials per iteration
//! Example    test/balance/host_sinkhorn_test.cpp
template <class Executor, class Row>
status host_sinkhorn(const Executor& executor, matrix_view<const Row> logits, const sinkhorn_options& o,
                     float* correction_bias, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_sinkhorn(logits, o, correction_bias));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, host_sinkhorn_workspace_bytes(executor, logits.rows, logits.cols)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::router_sums sums;
  sums.carve(carver, executor, logits.rows, logits.cols);
  if (!o.warm_start)
    for (std::int64_t e = 0; e < logits.cols; ++e) correction_bias[e] = 0.0f;
  for (std::int32_t i = 0; i < o.iterations; ++i) {
    sums.add_up(executor, logits, correction_bias);
    for (std::int64_t e = 0; e < logits.cols; ++e)
      correction_bias[e] = sinkhorn_step(correction_bias[e], sums.mean(e, logits.rows), logits.cols);
  }
  return {};
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

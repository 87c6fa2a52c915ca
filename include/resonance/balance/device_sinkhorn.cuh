// SPDX-License-Identifier: Apache-2.0
//! \file
//! Balanced assignment on the device: the bias that evens out the experts' shares.
#ifndef RESONANCE_BALANCE_DEVICE_SINKHORN_CUH
#define RESONANCE_BALANCE_DEVICE_SINKHORN_CUH

#include <resonance/balance/device_balance.cuh>
#include <resonance/balance/kernel_balance.cuh>
#include <resonance/balance/sinkhorn.hpp>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_sinkhorn needs: 8 (E + 1) per 256 tokens.
inline std::size_t device_sinkhorn_workspace_bytes(std::int64_t tokens, std::int64_t experts) {
  return device_router_statistics_workspace_bytes(tokens, experts);
}

//! Finds the bias of a balanced assignment: with it, every expert's mean probability approaches 1/E.
//!
//! Equation   see host_sinkhorn
//! Inputs     logits Row[T,E] strided, in device memory; NaN and -inf are absent
//! Outputs    correction_bias float[E], in device memory; read first with warm_start
//! Contract   the bits of host_sinkhorn
//! Errors     null_pointer (logits, correction_bias), out_of_range (logits, iterations), workspace_too_small,
//!            launch_failed
//! Resources  2 launches per iteration, nothing read back; device_sinkhorn_workspace_bytes
//! Cost       T*E reads and exponentials per iteration (see device_router_statistics)
//! Example    test/simt/balance/device_sinkhorn_test.cpp
template <class Row>
status device_sinkhorn(const device_stream& on, matrix_view<const Row> logits, const sinkhorn_options& o,
                       float* correction_bias, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_sinkhorn(logits, o, correction_bias));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_sinkhorn_workspace_bytes(logits.rows, logits.cols)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  const std::int64_t tiles = detail::statistics_blocks(logits.rows);
  auto* sums = carver.take<double>(tiles * (logits.cols + 1));
  const std::int64_t room = detail::probability_room(logits.cols);
  constexpr int threads = detail::statistics_threads;
  for (std::int32_t i = 0; i < o.iterations; ++i) {
    const float* start = i > 0 || o.warm_start ? correction_bias : nullptr;
    const router_logits<Row> in{logits, start};
    c.also(detail::launch(on, {tiles, threads, static_cast<std::size_t>(room) * sizeof(float)},
                          kernel_router_sums<threads, Row>, in, on.num_tokens, room, sums));
    if (!c.result().ok()) break;
    c.also(detail::launch(on, {detail::divide_up(logits.cols, threads), threads, 0}, kernel_sinkhorn_step<threads>,
                          static_cast<const double*>(sums), logits.cols, logits.rows, on.num_tokens, start,
                          correction_bias));
    if (!c.result().ok()) break;
  }
  return c.result();
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Batch statistics of a router on the device: mean probabilities, z-loss, how well experts separate tokens.
#ifndef RESONANCE_BALANCE_DEVICE_BALANCE_CUH
#define RESONANCE_BALANCE_DEVICE_BALANCE_CUH

#include <resonance/balance/kernel_balance.cuh>
#include <resonance/balance/statistics.hpp>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int statistics_threads = 256;

//! Floats that a tile of tokens has room for in shared memory.
inline std::int64_t probability_room(std::int64_t experts) {
  constexpr std::int64_t most =
      static_cast<std::int64_t>((shared_bytes_per_block - sizeof(balance::router_scratch)) / sizeof(float));
  if (balance::probability_space::least_rows > most / experts) return 0;
  return most / experts < statistics_block ? most : statistics_block * experts;
}

//! The scratch of Calinski-Harabasz.
struct scatter_workspace {
  double* between = nullptr;         // [H]
  double* within = nullptr;          // [H]
  unsigned char* columns = nullptr;  // of every block, where it does not fit shared memory

  void carve(workspace_carver& carver, std::int64_t hidden, std::int32_t experts) {
    between = carver.take<double>(hidden);
    within = carver.take<double>(hidden);
    const std::size_t bytes = balance::scatter_scratch::bytes(experts);
    if (bytes > shared_bytes_per_block)
      columns =
          carver.take<unsigned char>(divide_up(hidden, balance::scatter_columns) * static_cast<std::int64_t>(bytes));
  }
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_router_statistics needs: 8 (E + 1) per 256 tokens.
inline std::size_t device_router_statistics_workspace_bytes(std::int64_t tokens, std::int64_t experts) {
  detail::workspace_carver counter;
  counter.take<double>(detail::statistics_blocks(tokens) * (experts + 1));
  return counter.bytes();
}

//! Mean router probability of every expert, and the z-loss of the batch.
//!
//! Equation   P_i = mean over tokens of softmax(logits_t)_i;  z = mean over tokens of (ln sum_i exp(logits_ti))^2
//! Inputs     logits Row[T,E] strided (or affinities), in device memory; NaN and -inf are absent; a token without a
//!            logit adds 0 to both
//! Outputs    mean_probability double[E], z_loss double[1], both nullable; 0 for T = 0
//! Contract   sums in double over tiles of 256 tokens, then over the tiles: same bits as host_router_statistics
//! Errors     null_pointer, out_of_range (logits), workspace_too_small, launch_failed
//! Resources  2 launches; device_router_statistics_workspace_bytes
//! Cost       T*E reads (three times where E > 2800 or so), one exponential each
//! Example    test/simt/balance/device_balance_test.cpp
template <class Row>
status device_router_statistics(const device_stream& on, matrix_view<const Row> logits, double* mean_probability,
                                double* z_loss, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_router_statistics(logits));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_router_statistics_workspace_bytes(logits.rows, logits.cols)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  const std::int64_t tiles = detail::statistics_blocks(logits.rows);
  auto* sums = carver.take<double>(tiles * (logits.cols + 1));
  const std::int64_t room = detail::probability_room(logits.cols);
  constexpr int threads = detail::statistics_threads;
  const status summed =
      detail::launch(on, {tiles, threads, static_cast<std::size_t>(room) * sizeof(float)},
                     kernel_router_sums<threads, Row>, router_logits<Row>{logits}, on.num_tokens, room, sums);
  if (!summed.ok()) return summed;
  return detail::launch(on, {detail::divide_up(logits.cols + 1, threads), threads, 0}, kernel_router_means<threads>,
                        static_cast<const double*>(sums), logits.cols, logits.rows, on.num_tokens, mean_probability,
                        z_loss);
}

//! Bytes of workspace that device_calinski_harabasz needs: 16 per column of X; beyond E = 186 also 8.25 E per column.
inline std::size_t device_calinski_harabasz_workspace_bytes(std::int64_t hidden, std::int32_t experts) {
  detail::workspace_carver counter;
  detail::scatter_workspace scratch;
  scratch.carve(counter, hidden, experts);
  return counter.bytes();
}

//! How well the experts separate the tokens that they receive.
//!
//! Equation   CH = sum_i n_i |c_i - c|^2 / sum_i sum_{x of i} |x - c_i|^2, c_i = mean row of expert i, c = mean of all
//!            assigned rows   ETR Eq. 13 (without the usual factor (N - k) / (k - 1))
//! Inputs     x Row[T,H] strided; assignments: ids; in device memory; a token counts once per assignment
//! Outputs    ratio double[1]; 0 where both sums are 0, +inf where only the lower one is
//! Contract   double, by column, tokens in order: same bits as host_calinski_harabasz
//! Errors     null_pointer, shape_mismatch (x), index_overflow (assignments: 2^32 slots), workspace_too_small,
//!            launch_failed
//! Resources  2 launches; device_calinski_harabasz_workspace_bytes
//! Cost       two passes over X, one thread per column: a statistic for evaluation, not for every step
//! Example    test/simt/balance/device_balance_test.cpp
template <class Row>
status device_calinski_harabasz(const device_stream& on, matrix_view<const Row> x, const assignment_view& assignments,
                                double* ratio, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_device_assignments(assignments));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_calinski_harabasz(x, assignments, ratio));
  c.fits(assignments.most_slots() <= std::int64_t{0xffffffffu}, "assignments");
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, device_calinski_harabasz_workspace_bytes(x.cols, assignments.experts)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::scatter_workspace scratch;
  scratch.carve(carver, x.cols, assignments.experts);
  const std::size_t shared = scratch.columns == nullptr ? scatter_scratch::bytes(assignments.experts) : 0;
  const status scattered = detail::launch(on, {detail::divide_up(x.cols, scatter_columns), scatter_columns, shared},
                                          kernel_column_scatter<scatter_columns, Row>, x, assignments, on.num_tokens,
                                          scratch.columns, scratch.between, scratch.within);
  if (!scattered.ok()) return scattered;
  constexpr int threads = detail::statistics_threads;
  return detail::launch(on, {1, threads, 0}, kernel_scatter_ratio<threads>, static_cast<const double*>(scratch.between),
                        static_cast<const double*>(scratch.within), x.cols, ratio);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

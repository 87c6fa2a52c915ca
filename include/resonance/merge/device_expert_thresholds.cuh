// SPDX-License-Identifier: Apache-2.0
//! \file
//! The experts' own choice over all tokens, as one threshold per expert, on the device.
#ifndef RESONANCE_MERGE_DEVICE_EXPERT_THRESHOLDS_CUH
#define RESONANCE_MERGE_DEVICE_EXPERT_THRESHOLDS_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/merge/expert_side.hpp>
#include <resonance/merge/kernel_expert_thresholds.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace merge {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_expert_thresholds needs: none, since what does not fit shared memory is read again.
constexpr std::size_t device_expert_thresholds_workspace_bytes(std::int64_t, std::int64_t) { return 0; }

//! Finds the least packed (key, token) that every expert still takes when it may choose among all tokens.
//!
//! Equation   thresholds[i] = the C_i-th largest pack_key(order_key(affinity[t,i]), t)
//! Inputs     expert: affinity float[T,E] strided, C_i; in device memory
//! Outputs    thresholds uint64[E]
//! Contract   see block_expert_thresholds; over the tokens that there are
//! Errors     null_pointer (expert.affinity, thresholds), out_of_range (expert.affinity, expert.capacity),
//!            index_overflow (expert.affinity), launch_failed
//! Resources  1 launch; no workspace
//! Cost       T*E reads up to T = 1100 or so; beyond, one more per sweep of block_select (three with random scores)
//! Example    test/simt/merge/device_expert_thresholds_test.cpp
inline status device_expert_thresholds(const device_stream& on, const expert_side& expert, std::uint64_t* thresholds,
                                       workspace_view) {
  const status checked =
      detail::checks{}
          .also(detail::check_matrix(expert.affinity, "expert.affinity"))
          .in_range(expert.affinity.cols >= 1 && expert.affinity.cols <= detail::max_int32, "expert.affinity")
          .fits(expert.affinity.rows <= detail::max_int32, "expert.affinity")
          .in_range(expert.capacities != nullptr || expert.capacity >= 0, "expert.capacity")
          .present(thresholds, true, "thresholds")
          .result();
  if (!checked.ok()) return checked;
  const std::size_t staged = detail::staged_column_bytes(expert.affinity.rows, sizeof(threshold_scratch));
  return detail::launch(on, {detail::column_groups(expert.affinity.cols), column_threads, staged},
                        kernel_expert_thresholds<column_threads>, expert, on.num_tokens, staged > 0, thresholds);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace merge
RESONANCE_NAMESPACE_END

#endif

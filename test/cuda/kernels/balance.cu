// SPDX-License-Identifier: Apache-2.0
// low occupancy: kernel_column_scatter: centers of all experts for 32 columns are in shared memory
// low occupancy: kernel_delta_quantile: one block sweeps the batch's choices
// low occupancy: kernel_router_sums: a row per warp in shared memory, sums in double
#include <resonance/balance/kernel_balance.cuh>
#include <resonance/balance/kernel_delta_quantile.cuh>
#include <resonance/balance/kernel_transitions.cuh>
#include <resonance/core/row_type.hpp>

#include "built.hpp"

namespace balance = resonance::balance;

RESONANCE_BUILT(balance::kernel_router_sums<256, float>);
RESONANCE_BUILT(balance::kernel_router_sums<256, resonance::bfloat16>);
RESONANCE_BUILT(balance::kernel_router_means<256>);
RESONANCE_BUILT(balance::kernel_sinkhorn_step<256>);
RESONANCE_BUILT(balance::kernel_column_scatter<balance::scatter_columns, resonance::bfloat16>);
RESONANCE_BUILT(balance::kernel_scatter_ratio<256>);
RESONANCE_BUILT(balance::kernel_delta_quantile<512>);
RESONANCE_BUILT(balance::kernel_transitions<256>);

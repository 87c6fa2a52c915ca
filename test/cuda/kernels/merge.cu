// SPDX-License-Identifier: Apache-2.0
// low occupancy: kernel_count_merged: some registers over the limit of the last block
// low occupancy: kernel_expert_thresholds: eight columns staged in shared memory: the table is read once
// low occupancy: kernel_rank_members: a block per expert, keys ranked in shared memory; seldom fills the card
#include <resonance/merge/kernel_expert_thresholds.cuh>
#include <resonance/merge/kernel_merge.cuh>
#include <resonance/merge/policies.hpp>

#include "built.hpp"

namespace detail = resonance::detail;
namespace merge = resonance::merge;

RESONANCE_BUILT(merge::kernel_expert_thresholds<resonance::column_threads>);
RESONANCE_BUILT(detail::kernel_rank_members<detail::merge_threads>);
RESONANCE_BUILT(detail::kernel_keep_mutual<detail::merge_threads>);
RESONANCE_BUILT(detail::kernel_count_merged<detail::merge_threads, merge::union_>);
RESONANCE_BUILT(detail::kernel_count_merged<detail::merge_threads, merge::expert_only>);
RESONANCE_BUILT(detail::kernel_place_merged<detail::merge_threads, merge::union_>);
RESONANCE_BUILT(detail::kernel_place_merged<detail::merge_threads, merge::expert_only>);

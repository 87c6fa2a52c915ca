// SPDX-License-Identifier: Apache-2.0
// low occupancy: kernel_cut_shared: one block per expert seldom fills the card
// low occupancy: kernel_expert_capacities: eight columns staged in shared memory: the table is read once
// low occupancy: kernel_prune: a block per expert, keys ranked in shared memory; seldom fills the card
#include <resonance/core/row_type.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/choice_rules.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/kernel_expert_capacities.cuh>
#include <resonance/prune/kernel_protect_tokens.cuh>
#include <resonance/prune/kernel_prune.cuh>
#include <resonance/prune/kernel_prune_choices.cuh>
#include <resonance/prune/kernel_token_importance.cuh>

#include "built.hpp"

namespace detail = resonance::detail;
namespace prune = resonance::prune;

RESONANCE_BUILT(detail::kernel_best_affinities<detail::prune_threads>);
RESONANCE_BUILT(detail::kernel_prune<detail::prune_threads, prune::affinity_mass, prune::affinity_order>);
RESONANCE_BUILT(detail::kernel_prune<detail::prune_threads, prune::lower_bound, prune::affinity_order>);
RESONANCE_BUILT(detail::kernel_prune<detail::prune_threads, prune::factor, prune::position>);
RESONANCE_BUILT(detail::kernel_prune<detail::prune_threads, prune::factor, prune::slot_major>);
RESONANCE_BUILT(detail::kernel_prune<detail::prune_threads, prune::factor, prune::batch_prioritized>);
RESONANCE_BUILT(detail::kernel_prune<detail::prune_threads, prune::factor, prune::slot_major_prioritized>);
RESONANCE_BUILT(detail::kernel_expert_capacity<detail::prune_threads, prune::affinity_mass>);
RESONANCE_BUILT(detail::kernel_cut_shared<detail::prune_threads, prune::affinity_mass, prune::affinity_order>);
RESONANCE_BUILT(detail::kernel_renormalize<detail::prune_threads>);
RESONANCE_BUILT(detail::kernel_prune_choices<detail::prune_choices_threads, prune::weight_ratio>);
RESONANCE_BUILT(detail::kernel_prune_choices<detail::prune_choices_threads, prune::sensitivity>);
RESONANCE_BUILT(detail::kernel_sum_counts<detail::prune_choices_threads>);
RESONANCE_BUILT(detail::kernel_unprotect_tokens<detail::protect_threads>);
RESONANCE_BUILT(detail::kernel_protect_tokens<detail::protect_threads>);
RESONANCE_BUILT(detail::kernel_attention_received<detail::importance_threads, resonance::bfloat16>);
RESONANCE_BUILT(detail::kernel_token_importance<detail::importance_threads, resonance::bfloat16>);
RESONANCE_BUILT(prune::kernel_expert_capacities<resonance::column_threads, prune::affinity_mass>);

// SPDX-License-Identifier: Apache-2.0
// Routes with pruning from hidden states, dropless ones from logits, and merges that ask the experts.
// low occupancy: kernel_route_choice: as kernel_token_choice
// low occupancy: kernel_route_experts: a block per expert, keys ranked in shared memory; seldom fills the card
// low occupancy: kernel_route_choice_by_block: as kernel_token_choice_by_block
// low occupancy: kernel_route_steps: holds the registers of its largest step
// low occupancy: kernel_route_place: 1024 threads hold their slots in 64 registers: one block fits
// low occupancy: kernel_route_small: one block is all there is
// low occupancy: kernel_route_small_unpruned: one block is all there is
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/core/kernel_group.cuh>
#include <resonance/merge/policies.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/route/kernel_route.cuh>
#include <resonance/route/kernel_route_steps.cuh>
#include <resonance/token_choice/policies.hpp>

#include "built.hpp"

namespace affinity = resonance::affinity;
namespace detail = resonance::detail;
namespace merge = resonance::merge;
namespace prune = resonance::prune;
namespace token_choice = resonance::token_choice;

using grap = affinity::warp_source<affinity::grouped_average_cosine, affinity::hidden_input<resonance::bfloat16>>;
using logits = affinity::warp_source<affinity::logits, affinity::logits_input<float>>;

// The first launch of a large batch: threads per row, how far down the order the choice looks, what follows it.
RESONANCE_BUILT(detail::kernel_route_choice<grap, affinity::softmax, token_choice::top_k, 32, 8, detail::list_chosen>);
RESONANCE_BUILT(
    detail::kernel_route_choice<logits, affinity::softmax, token_choice::top_k, 32, 8, detail::count_chosen>);
RESONANCE_BUILT(
    detail::kernel_route_choice<logits, affinity::softmax, token_choice::top_k, 32, 8, detail::start_steps>);
RESONANCE_BUILT(detail::kernel_route_choice_by_block<logits, affinity::softmax, token_choice::top_k>);

// What follows in a kernel each.
RESONANCE_BUILT(detail::kernel_route_experts<256, prune::affinity_mass, prune::affinity_order>);
RESONANCE_BUILT(detail::kernel_route_place<detail::place_threads<unsigned>, std::int32_t>);

// What follows in one.
RESONANCE_BUILT(detail::kernel_route_steps<256, merge::union_, prune::lower_bound, prune::batch_prioritized,
                                           affinity::softmax, std::int64_t>);

// A small batch by one block.
RESONANCE_BUILT(detail::kernel_route_small<384, grap, affinity::softmax, token_choice::top_k, merge::restricted,
                                           prune::affinity_mass, prune::affinity_order, std::int32_t>);
RESONANCE_BUILT(detail::kernel_route_small_unpruned<384, logits, affinity::softmax, token_choice::top_k, std::int32_t>);

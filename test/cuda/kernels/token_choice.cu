// SPDX-License-Identifier: Apache-2.0
// Token choice from logits and hidden states: the tiles of the usual expert counts, every policy, a block for one row.
// low occupancy: kernel_sparse_mixer: a warp per token with the quotients and exponentials inlined
// low occupancy: kernel_token_choice: the list of best keys is in registers: six blocks for 8, four for 32
// low occupancy: kernel_token_choice_by_block: one long row per block, in shared memory
// low occupancy: kernel_weights: a warp per token with the divisions inlined
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/token_choice/kernel_sparse_mixer.cuh>
#include <resonance/token_choice/kernel_token_choice.cuh>
#include <resonance/token_choice/kernel_weights.cuh>
#include <resonance/token_choice/policies.hpp>

#include "built.hpp"

namespace affinity = resonance::affinity;
namespace detail = resonance::detail;
namespace token_choice = resonance::token_choice;

template <class T>
using logits = affinity::warp_source<affinity::logits, affinity::logits_input<T>>;
template <class Metric>
using hidden = affinity::warp_source<Metric, affinity::hidden_input<resonance::bfloat16>>;
using grap = hidden<affinity::grouped_average_cosine>;
using cosine = hidden<affinity::cosine>;

// Threads per row and how far down the order the choice looks: the last two.
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::softmax, token_choice::top_k, 4, 2>);
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::softmax, token_choice::top_k, 16, 8>);
RESONANCE_BUILT(
    detail::kernel_token_choice<logits<resonance::bfloat16>, affinity::softmax, token_choice::top_k, 32, 8>);
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::softmax, token_choice::top_k, 32, 16>);
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::softmax, token_choice::top_k, 32, 32>);
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::sigmoid, token_choice::grouped_top_k, 32, 8>);
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::identity, token_choice::top_p, 32, 8>);
RESONANCE_BUILT(detail::kernel_token_choice<logits<float>, affinity::identity, token_choice::rank_set, 32, 8>);
RESONANCE_BUILT(detail::kernel_token_choice<grap, affinity::softmax, token_choice::top_k, 32, 2>);
RESONANCE_BUILT(detail::kernel_token_choice<cosine, affinity::softmax, token_choice::top_k, 32, 8>);
RESONANCE_BUILT(detail::kernel_token_choice_by_block<logits<float>, affinity::softmax, token_choice::top_k>);
RESONANCE_BUILT(detail::kernel_token_choice_by_block<cosine, affinity::sigmoid, token_choice::grouped_top_k>);
RESONANCE_BUILT(detail::kernel_weights<affinity::softmax>);
RESONANCE_BUILT(detail::kernel_sparse_mixer<float>);
RESONANCE_BUILT(detail::kernel_sparse_mixer<resonance::bfloat16>);

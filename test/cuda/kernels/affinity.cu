// SPDX-License-Identifier: Apache-2.0
// low occupancy: kernel_affinity: products of 4 tokens and 2 experts, or a chunk in flight, in registers
// low occupancy: kernel_scores: a warp has a whole line to overlap; exponentials are inlined
#include <resonance/affinity/kernel_affinity.cuh>
#include <resonance/affinity/kernel_blend.cuh>
#include <resonance/affinity/kernel_contrast.cuh>
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/affinity/warp_residual_logits.cuh>

#include "built.hpp"

namespace affinity = resonance::affinity;
namespace detail = resonance::detail;

template <class Metric, class T>
using hidden = affinity::warp_source<Metric, affinity::hidden_input<T>>;
using logits = affinity::warp_source<affinity::logits, affinity::logits_input<float>>;
using residual_logits = affinity::warp_source<affinity::logits, affinity::residual_logits_input<float>>;

RESONANCE_BUILT(detail::kernel_affinity<hidden<affinity::grouped_average_cosine, float>>);
RESONANCE_BUILT(detail::kernel_affinity<hidden<affinity::grouped_average_cosine, resonance::bfloat16>>);
RESONANCE_BUILT(detail::kernel_affinity<hidden<affinity::cosine, resonance::bfloat16>>);
RESONANCE_BUILT(detail::kernel_affinity<hidden<affinity::dot, resonance::float16>>);
RESONANCE_BUILT(detail::kernel_affinity<logits>);
RESONANCE_BUILT(detail::kernel_affinity<residual_logits>);
RESONANCE_BUILT(detail::kernel_scores<affinity::softmax>);
RESONANCE_BUILT(detail::kernel_scores<affinity::sigmoid>);
RESONANCE_BUILT(affinity::kernel_contrast<256, float>);
RESONANCE_BUILT(affinity::kernel_contrast<256, resonance::bfloat16>);
RESONANCE_BUILT(affinity::kernel_blend<128>);

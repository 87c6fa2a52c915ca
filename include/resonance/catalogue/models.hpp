// SPDX-License-Identifier: Apache-2.0
//! \file
//! The routers of released models, as options of a composition. A function gives the published shape; every field can
//! be changed before the route, and a fine-tuned model's K or scale is one assignment.
//!
//!     auto o = resonance::catalogue::deepseek_v3(correction_bias);
//!     const resonance::affinity::logits_input<> input{logits};
//!     resonance::status s = resonance::route::host_route(executor, input, o, out, workspace);
//!
//! Metric     affinity::logits where the caller's GEMM made the logits (its bias included, as in gpt-oss), or
//!            affinity::dot to start from hidden states and the gate
//! Contract   test/catalogue: ids equal to the routers of the transformers package, weights to 1e-6
#ifndef RESONANCE_CATALOGUE_MODELS_HPP
#define RESONANCE_CATALOGUE_MODELS_HPP

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/std.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/route/options.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! Token choice alone, everything kept: what all models here are.
template <class Score, class Selection = token_choice::top_k, class Metric = affinity::logits>
using dropless = typename router<Metric, Selection, merge::token_only, prune::unlimited, Score>::options;

//! The K best of a softmax over all experts.
template <class Metric = affinity::logits>
dropless<affinity::softmax, token_choice::top_k, Metric> softmax_top_k(std::int32_t top_k, bool renormalize) {
  dropless<affinity::softmax, token_choice::top_k, Metric> o;
  o.choice.top_k = top_k;
  o.choice.renormalize = renormalize;
  return o;
}

//! The K best by sigmoid + bias; the sigmoids alone are renormalized and scaled.   (DeepSeek-V3, arXiv 2412.19437, Eq.
//! 12-16; without groups Kimi-K2, GLM-4.5, Nemotron-3, MiniMax-M2)
template <class Metric = affinity::logits>
dropless<affinity::sigmoid, token_choice::top_k, Metric> sigmoid_top_k(std::int32_t top_k, const float* correction_bias,
                                                                       float scale) {
  dropless<affinity::sigmoid, token_choice::top_k, Metric> o;
  o.choice.top_k = top_k;
  o.choice.correction_bias = correction_bias;
  o.choice.renormalize = true;
  o.choice.routed_scaling_factor = scale;
  return o;
}

//! Mixtral 8x7B, 8x22B (arXiv 2401.04088): 2 of 8.
template <class Metric = affinity::logits>
auto mixtral() {
  return softmax_top_k<Metric>(2, true);
}

//! Qwen3-MoE (arXiv 2505.09388): 8 of 128.
template <class Metric = affinity::logits>
auto qwen3_moe() {
  return softmax_top_k<Metric>(8, true);
}

//! Qwen3-Next 80B-A3B: 10 of 512.
template <class Metric = affinity::logits>
auto qwen3_next() {
  return softmax_top_k<Metric>(10, true);
}

//! OLMoE (arXiv 2409.02060): 8 of 64, weights as the softmax gives them.
template <class Metric = affinity::logits>
auto olmoe() {
  return softmax_top_k<Metric>(8, false);
}

//! Phi-3.5-MoE (arXiv 2409.12136): 2 of 16. Its weights come from token_choice::host_sparse_mixer_weights, given the
//! ids that the route keeps; the route's own, the row's softmax, are not the model's.
template <class Metric = affinity::logits>
auto phi3_5_moe() {
  return softmax_top_k<Metric>(2, false);
}

//! DBRX: 4 of 16; its 1-norm of positive weights is their sum.
template <class Metric = affinity::logits>
auto dbrx() {
  return softmax_top_k<Metric>(4, true);
}

//! DeepSeek-V2 (arXiv 2405.04434): 6 of 160, from the 3 groups of 8 with the best single expert; weights times 16.
template <class Metric = affinity::logits>
auto deepseek_v2() {
  dropless<affinity::softmax, token_choice::grouped_top_k, Metric> o;
  o.selection.n_group = 8;
  o.selection.topk_group = 3;
  o.selection.scored_by = token_choice::group_score::best;
  o.choice.top_k = 6;
  o.choice.routed_scaling_factor = 16.0f;
  return o;
}

//! DeepSeek-V3, R1 (arXiv 2412.19437): 8 of 256, from the 4 groups of 8 with the best two experts; bias float[E].
template <class Metric = affinity::logits>
auto deepseek_v3(const float* correction_bias) {
  dropless<affinity::sigmoid, token_choice::grouped_top_k, Metric> o;
  o.selection.n_group = 8;
  o.selection.topk_group = 4;
  o.choice = sigmoid_top_k<Metric>(8, correction_bias, 2.5f).choice;
  return o;
}

//! Kimi-K2 (arXiv 2507.20534): 8 of 384, one group.
template <class Metric = affinity::logits>
auto kimi_k2(const float* correction_bias) {
  return sigmoid_top_k<Metric>(8, correction_bias, 2.827f);
}

//! GLM-4.5 (arXiv 2508.06471): 8 of 160.
template <class Metric = affinity::logits>
auto glm4_5(const float* correction_bias) {
  return sigmoid_top_k<Metric>(8, correction_bias, 2.5f);
}

//! MiniMax-M2: 8 of 256.
template <class Metric = affinity::logits>
auto minimax_m2(const float* correction_bias) {
  return sigmoid_top_k<Metric>(8, correction_bias, 1.0f);
}

//! Nemotron-3 (hybrid Mamba-transformer): 22 of 512.
template <class Metric = affinity::logits>
auto nemotron_3(const float* correction_bias) {
  return sigmoid_top_k<Metric>(22, correction_bias, 5.0f);
}

//! gpt-oss (arXiv 2508.10925): 4 of 128 (or of 32) by logit, then a softmax over the four.
template <class Metric = affinity::logits>
auto gpt_oss() {
  dropless<affinity::softmax_over_chosen, token_choice::top_k, Metric> o;
  o.choice.top_k = 4;
  return o;
}

//! Llama 4 (Scout of 16, Maverick of 128): the best one, by its sigmoid. The model multiplies the expert's input by it.
template <class Metric = affinity::logits>
auto llama4() {
  dropless<affinity::sigmoid, token_choice::top_k, Metric> o;
  o.choice.top_k = 1;
  return o;
}

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Affinity metrics: how a (token, expert) pair is scored before any score function (SEMANTICS 2).
//!
//! A metric says what it reads and how a sum of products becomes delta; the backends do the summing. A metric of your
//! own is a struct with the same members.
#ifndef RESONANCE_AFFINITY_METRICS_HPP
#define RESONANCE_AFFINITY_METRICS_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! What a metric's sum runs over.
enum class operand {
  gate,    //!< all H columns of the token and of the expert's gate row: hidden_input with a gate
  slice,   //!< the expert's own slice of the token: hidden_input with `experts`
  logits,  //!< nothing: the logit is given: logits_input
};

//! Hidden states X [T,H] and, for metrics on a gate, its rows W [E,H].
template <class X = float, class W = X>
struct hidden_input {
  matrix_view<const X> hidden;           //!< [T,H]
  matrix_view<const W> gate;             //!< [E,H]; metrics on slices do not read it
  std::int32_t experts = 0;              //!< E for metrics on slices; otherwise gate.rows
  const float* slice_weights = nullptr;  //!< [H], metrics on slices; null = all ones
};

//! Logits L [T,E] that the caller's GEMM produced.
template <class L = float>
struct logits_input {
  matrix_view<const L> logits;         //!< [T,E]
  const float* token_norms = nullptr;  //!< [T] |x_t|, cosine_of_logits only
  const float* gate_norms = nullptr;   //!< [E] |w_i|, cosine_of_logits only
};

//! delta = x_t . w_i
struct dot {
  using stage = stages::affinity;
  static constexpr operand reads = operand::gate;
  static constexpr bool needs_norms = false;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float finish(float sum, float, float) { return sum; }
};

//! delta = x_t . w_i / (|x_t| |w_i|), 0 where a norm is 0   (ETR Eq. 4)
//! Norms are floats: a row longer than 1.8e19 counts as infinitely long (delta 0), one shorter than 1e-19 loses digits.
struct cosine {
  using stage = stages::affinity;
  static constexpr operand reads = operand::gate;
  static constexpr bool needs_norms = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float finish(float sum, float token_norm, float expert_norm) {
    const float norms = token_norm * expert_norm;
    return norms == 0.0f ? 0.0f : math::divide(sum, norms);
  }
};

//! GrAP: delta = sum of x_t over slice i / (|x_t| sqrt(slice length))   (ETR Eq. 2-4); with slice weights v:
//! <x_t, v> over slice i / (|x_t| |v over slice i|). The expert norm is sqrt(slice length) or |v over slice i|.
struct grouped_average_cosine {
  using stage = stages::affinity;
  static constexpr operand reads = operand::slice;
  static constexpr bool needs_norms = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float finish(float sum, float token_norm, float expert_norm) {
    return cosine::finish(sum, token_norm, expert_norm);
  }
};

//! LocMoE: delta = mean of x_t (times v, if given) over slice i. The expert norm is the slice length.
struct grouped_average {
  using stage = stages::affinity;
  static constexpr operand reads = operand::slice;
  static constexpr bool needs_norms = false;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float finish(float sum, float, float slice_length) {
    return math::divide(sum, slice_length);
  }
};

//! delta = the given logit
struct logits {
  using stage = stages::affinity;
  static constexpr operand reads = operand::logits;
  static constexpr bool needs_norms = false;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float finish(float logit, float, float) { return logit; }
};

//! delta = the given logit / (|x_t| |w_i|), norms given
struct cosine_of_logits {
  using stage = stages::affinity;
  static constexpr operand reads = operand::logits;
  static constexpr bool needs_norms = true;
  RESONANCE_HOST_DEVICE static RESONANCE_FORCE_INLINE float finish(float logit, float token_norm, float expert_norm) {
    return cosine::finish(logit, token_norm, expert_norm);
  }
};

//! First column of expert i's slice: ceil(i * H / E); the slice ends where the next one begins.
RESONANCE_HOST_DEVICE inline std::int64_t slice_begin(std::int64_t expert, std::int64_t experts, std::int64_t hidden) {
  return (expert * hidden + experts - 1) / experts;
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

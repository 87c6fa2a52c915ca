// SPDX-License-Identifier: Apache-2.0
//! \file
//! Intuition-MoR1E, rank-1 experts inside a LoRA (arXiv 2404.08985, and its authors' code): a dense gate, half from the
//! token, half from its sample's similarity to cluster centers (affinity::host_blend_prior).
#ifndef RESONANCE_CATALOGUE_MOR1E_HPP
#define RESONANCE_CATALOGUE_MOR1E_HPP

#include <resonance/affinity/blend.hpp>
#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! The learned scalars of MoR1E's gate: g = 32 omega softmax(W_r x) + 4 (1 - omega) q, out = m B((A x) * g).
//! 32, 4 and 100 are the code's constants: g's entries are of the order of 1, and the scalars learn fast.
struct mor1e {
  static constexpr std::int32_t experts = 32;  //!< clusters, rank-1 experts, entries of q

  float theta_gate = 0.0f;   //!< omega = sigmoid(100 theta_gate)
  float theta_scale = 0.0f;  //!< m = sigmoid(100 theta_scale)

  RESONANCE_HOST_DEVICE float omega() const { return math::sigmoid(100.0f * theta_gate); }
  RESONANCE_HOST_DEVICE float scale() const { return math::sigmoid(100.0f * theta_scale); }
  RESONANCE_HOST_DEVICE affinity::blend_weights weights() const { return {32.0f * omega(), 4.0f * (1.0f - omega())}; }
};

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif

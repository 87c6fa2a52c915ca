// SPDX-License-Identifier: Apache-2.0
//! \file
//! Logits with a residual from the layer before (MoE++'s gating residuals), as an input of the metric `logits`.
#ifndef RESONANCE_AFFINITY_RESIDUAL_LOGITS_HPP
#define RESONANCE_AFFINITY_RESIDUAL_LOGITS_HPP

#include <resonance/affinity/input.hpp>
#include <resonance/affinity/metrics.hpp>
#include <resonance/config.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Logits of this layer, and what they are added to: G_j = L_j + W_g G_{j-1}, L_j = W_j x.   (MoE++, arXiv 2410.07348)
//!
//! delta_ti = L[t,i] + sum over j of G[t,j] W_g[i,j]: fused multiply-adds in the order of ordered_sum.hpp, then one
//! addition, in float.
//! Every stage that takes rows of delta writes them where it is asked to (`affinity` of token choice and of the route):
//! these are the full G_j, which the next layer takes as `previous`. The first layer has none: logits_input.
//! A NaN or an infinity in `previous` reaches every expert of its token.
template <class L = float, class G = float, class W = float>
struct residual_logits_input {
  matrix_view<const L> logits;         //!< [T,E] L_j: the caller's GEMM, or host_affinity of `dot`
  matrix_view<const G> previous;       //!< [T,E] G_{j-1}
  matrix_view<const W> residual_gate;  //!< [E,E] W_g; row i is expert i of this layer

  //! The products: those of `dot` on a gate.
  RESONANCE_HOST_DEVICE hidden_input<G, W> products() const {
    hidden_input<G, W> input;
    input.hidden = previous;
    input.gate = residual_gate;
    return input;
  }

  status check() const {
    return detail::checks{}
        .also(detail::check_input<affinity::logits>(logits_input<L>{logits}))
        .also(detail::check_matrix(previous, "previous"))
        .matches(previous.rows == logits.rows && previous.cols == logits.cols, "previous")
        .also(detail::check_matrix(residual_gate, "residual_gate"))
        .matches(residual_gate.rows == logits.cols && residual_gate.cols == logits.cols, "residual_gate")
        .result();
  }
};

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

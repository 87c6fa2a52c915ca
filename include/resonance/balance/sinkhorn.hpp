// SPDX-License-Identifier: Apache-2.0
//! \file
//! Balanced assignment by Sinkhorn's iteration: its options and its step.
#ifndef RESONANCE_BALANCE_SINKHORN_HPP
#define RESONANCE_BALANCE_SINKHORN_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

struct sinkhorn_options {
  std::int32_t iterations = 8;  //!< >= 1, always all of them: nothing is read back to see whether they converged
  bool warm_start = false;      //!< start from the bias that is there, of the last batch, instead of zeros
};

//! One step of one expert: u - ln(E P), P its mean probability under the bias u; an expert without mass keeps u.
RESONANCE_HOST_DEVICE inline float sinkhorn_step(float bias, double mean_probability, std::int64_t experts) {
  const float share = static_cast<float>(mean_probability * static_cast<double>(experts));
  return share > 0.0f ? bias - math::log(share) : bias;
}

}  // namespace balance

namespace detail {

template <class Row>
status check_sinkhorn(const matrix_view<const Row>& logits, const balance::sinkhorn_options& o,
                      const float* correction_bias) {
  return checks{}
      .also(check_matrix(logits, "logits"))
      .in_range(logits.cols >= 1, "logits")
      .in_range(o.iterations >= 1, "iterations")
      .present(correction_bias, true, "correction_bias")
      .result();
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Self-contrast: the logits of a strong choice of experts, pushed away from those of a weak one.
#ifndef RESONANCE_AFFINITY_HOST_CONTRAST_HPP
#define RESONANCE_AFFINITY_HOST_CONTRAST_HPP

#include <cstdint>

#include <resonance/affinity/contrast.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Contrasts two rows of logits per token: those of a strong choice of experts and those of a weak one.
//!
//! Equation   z(i) = (1 + beta) z_strong(i) - beta z_weak(i) where z_strong(i) >= log(alpha) + max_j z_strong(j), else
//!            -inf   SCMoE, arXiv 2405.14507; computed as z_strong + beta (z_strong - z_weak)
//! Inputs     strong, weak Row[T,V] strided: the same model's logits with the strong and the weak rank set
//!            (catalogue/scmoe.hpp), at any V, a vocabulary's say
//! Outputs    out float[T,V] strided, must not overlap the inputs
//! Contract   NaN and -inf in either row: -inf; +inf counts as the largest finite value of Row; what is not -inf is
//!            finite; same bits at any worker count and instruction set
//! Errors     out_of_range (alpha, beta), null_pointer, shape_mismatch (weak, out)
//! Resources  none
//! Cost       strong read twice, weak once, out written once
//! Example    test/catalogue/scmoe_test.cpp
template <class Executor, class Row>
status host_contrast_logits(const Executor& executor, matrix_view<const Row> strong, matrix_view<const Row> weak,
                            const contrast_options& o, matrix_view<float> out) {
  const status checked = detail::check_contrast(o, strong, weak, out);
  if (!checked.ok() || strong.empty()) return checked;
  constexpr std::int64_t least_steps = 32768;
  const std::int64_t count = strong.cols;
  const std::int64_t grain = count < least_steps ? least_steps / count : 1;
  detail::for_ranges(executor, strong.rows, grain, [&](std::int64_t begin, std::int64_t end, int) {
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t t = begin; t < end; ++t) {
        const Row* of_strong = strong.row(t);
        const Row* of_weak = weak.row(t);
        float* contrast = out.row(t);
        const auto widened = [](Row value) RESONANCE_INLINE_LAMBDA {
          return choosable_score(row_traits<Row>::widen(value), row_traits<Row>::largest);
        };
        const float largest =
            detail::largest_of(count, [&](std::int64_t i) RESONANCE_INLINE_LAMBDA { return widened(of_strong[i]); });
        const detail::contrast_row row(o, largest);
        for (std::int64_t i = 0; i < count; ++i) contrast[i] = row.at(widened(of_strong[i]), widened(of_weak[i]));
      }
    });
  });
  return {};
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

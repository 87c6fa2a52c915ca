// SPDX-License-Identifier: Apache-2.0
//! \file
//! Orthogonal updates of experts, after OMoE (arXiv 2310.09762): each expert moves only where the others' inputs do not
//! lie. A projector per expert is accumulated from the rows that a plan brought it.
#ifndef RESONANCE_OFFLINE_ORTHOGONAL_PROJECTOR_HPP
#define RESONANCE_OFFLINE_ORTHOGONAL_PROJECTOR_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <resonance/config.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

//! A projector [H,H] per expert, contiguous; symmetric to the bit.
struct projectors {
  double* data = nullptr;  //!< [E,H,H]
  std::int32_t experts = 0;
  std::int64_t hidden = 0;

  double* of(std::int64_t expert) const { return data + expert * hidden * hidden; }

  constexpr status check() const {
    return detail::checks{}
        .in_range(experts >= 1, "projectors.experts")
        .in_range(hidden >= 1 && hidden <= (std::int64_t{1} << 20), "projectors.hidden")
        .present(data, true, "projectors.data")
        .result();
  }
};

}  // namespace offline

namespace detail {

template <class Row, class Index>
status check_accumulate(const matrix_view<const Row>& rows, const Index* expert_offsets, double alpha,
                        const offline::projectors& p) {
  checks c;
  c.also(p.check()).also(check_matrix(rows, "rows")).matches(rows.cols == p.hidden, "rows");
  c.present(expert_offsets, true, "expert_offsets");
  c.in_range(alpha > 0.0 && alpha <= std::numeric_limits<double>::max(), "alpha");
  if (!c.result().ok()) return c.result();
  c.in_range(expert_offsets[0] >= 0 && expert_offsets[p.experts] <= rows.rows, "expert_offsets");
  for (std::int32_t e = 0; e < p.experts; ++e) c.in_range(expert_offsets[e] <= expert_offsets[e + 1], "expert_offsets");
  return c.result();
}

//! Takes the direction of one row out of a projector; `image`: H of scratch.
template <class Row>
void remove_direction(const Row* row, std::int64_t hidden, double alpha, double* projector, double* image) {
  const auto a = [&](std::int64_t j) { return static_cast<double>(row_traits<Row>::widen(row[j])); };
  double length = 0.0;  // a^T P a
  for (std::int64_t i = 0; i < hidden; ++i) {
    double sum = 0.0;
    for (std::int64_t j = 0; j < hidden; ++j) sum = math::fma(projector[i * hidden + j], a(j), sum);
    image[i] = sum;
    length = math::fma(sum, a(i), length);
  }
  if (!std::isfinite(length)) return;
  // Rounding may take a length of 0 below it. The product of two images is the same in either order, so that symmetry
  // stays.
  const double scale = -1.0 / (alpha + (length > 0.0 ? length : 0.0));
  for (std::int64_t i = 0; i < hidden; ++i)
    for (std::int64_t j = 0; j < hidden; ++j)
      projector[i * hidden + j] = math::fma(image[i] * image[j], scale, projector[i * hidden + j]);
}

}  // namespace detail

namespace offline {

//! Makes every projector the identity: nothing has been seen yet. Errors: null_pointer, out_of_range (projectors...).
inline status reset_projectors(const projectors& p) {
  const status checked = p.check();
  if (!checked.ok()) return checked;
  for (std::int64_t e = 0; e < p.experts; ++e)
    for (std::int64_t i = 0; i < p.hidden; ++i)
      for (std::int64_t j = 0; j < p.hidden; ++j) p.of(e)[i * p.hidden + j] = i == j ? 1.0 : 0.0;
  return {};
}

//! Bytes of workspace that accumulate_projectors needs: 8 H per worker.
template <class Executor>
std::size_t accumulate_projectors_workspace_bytes(const Executor& executor, std::int64_t hidden) {
  detail::workspace_carver counter;
  counter.take<double>(detail::worker_count(executor) * hidden);
  return counter.bytes();
}

//! Takes what every expert received out of its projector: a grouped update on permuted rows.
//!
//! Equation   for each row a of expert i, in the order of the rows: P_i <- P_i - (P_i a)(a^T P_i) / (alpha + a^T P_i a)
//!            = I - A (A^T A + alpha I)^-1 A^T for all rows A since reset_projectors   OWM (Zeng et al. 2019); that
//!            OMoE accumulates so is inferred
//! Inputs     rows Row[P,H] strided (permute::host_permute); expert_offsets [E + 1] (plan::outputs), rows of expert i
//!            from expert_offsets[i] on; alpha: > 0, how much of a seen direction stays
//! Outputs    projectors double[E,H,H], updated; of an expert without rows untouched
//! Contract   in double, sums by rising column: same bits at any worker count; padding rows (zeros) change nothing, and
//!            neither do rows with a NaN or an infinity
//! Errors     null_pointer, shape_mismatch (rows), out_of_range (projectors.experts, projectors.hidden, expert_offsets,
//!            alpha), workspace_too_small
//! Resources  accumulate_projectors_workspace_bytes; no allocation
//! Cost       P H^2 multiply-adds, twice; experts side by side
//! Example    test/catalogue/omoe_test.cpp
template <class Executor, class Row, class Index>
status accumulate_projectors(const Executor& executor, matrix_view<const Row> rows, const Index* expert_offsets,
                             double alpha, const projectors& p, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_accumulate(rows, expert_offsets, alpha, p));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, accumulate_projectors_workspace_bytes(executor, p.hidden)));
  if (!c.result().ok()) return c.result();
  detail::workspace_carver carver(workspace.data);
  double* images = carver.take<double>(detail::worker_count(executor) * p.hidden);
  detail::for_ranges(executor, p.experts, 1, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t e = begin; e < end; ++e)
      for (std::int64_t r = expert_offsets[e]; r < expert_offsets[e + 1]; ++r)
        detail::remove_direction(rows.row(r), p.hidden, alpha, p.of(e), images + worker * p.hidden);
  });
  return {};
}

//! The mean of all other experts' projectors.
//!
//! Equation   Pbar_-i = (1 / (E - 1)) sum over j != i of P_j   OMoE; that the expert itself is left out is inferred
//! Outputs    mean double[H,H]; its eigenvalues are in [0,1], and 1 only for what no other expert has seen
//! Contract   in double, by rising expert; symmetric to the bit
//! Errors     null_pointer, out_of_range (projectors.experts: 2 at least, projectors.hidden, expert)
//! Cost       E H^2 reads
//! Example    test/catalogue/omoe_test.cpp
inline status mean_of_other_projectors(const projectors& p, std::int32_t expert, double* mean) {
  detail::checks c;
  c.also(p.check()).in_range(p.experts >= 2, "projectors.experts");
  c.in_range(expert >= 0 && expert < p.experts, "expert").present(mean, true, "mean");
  if (!c.result().ok()) return c.result();
  for (std::int64_t i = 0; i < p.hidden * p.hidden; ++i) {
    double sum = 0.0;
    for (std::int64_t e = 0; e < p.experts; ++e) sum += e == expert ? 0.0 : p.of(e)[i];
    mean[i] = sum / static_cast<double>(p.experts - 1);
  }
  return {};
}

//! Moves an expert's weights by the part of an update that the mean projector leaves.
//!
//! Equation   W <- W + kappa D Pbar   OMoE's orthogonal phase, for W [d_out, d_in]
//! Inputs     update D float[O,H] strided; projector Pbar double[H,H], symmetric; kappa finite
//! Outputs    weights W float[O,H] strided, no overlap with `update`
//! Contract   sums in double by rising column, one rounding to float: same bits at any worker count
//! Errors     null_pointer (weights, update, projector), shape_mismatch (update), out_of_range (kappa)
//! Cost       O H^2 multiply-adds
//! Example    test/catalogue/omoe_test.cpp
template <class Executor>
status orthogonal_step(const Executor& executor, matrix_view<float> weights, matrix_view<const float> update,
                       const double* projector, double kappa) {
  detail::checks c;
  c.also(detail::check_matrix(weights, "weights")).also(detail::check_matrix(update, "update"));
  c.matches(update.rows == weights.rows && update.cols == weights.cols, "update");
  c.present(projector, !weights.empty(), "projector").in_range(std::isfinite(kappa), "kappa");
  if (!c.result().ok()) return c.result();
  const std::int64_t hidden = weights.cols;
  detail::for_ranges(executor, weights.rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t o = begin; o < end; ++o) {
      for (std::int64_t i = 0; i < hidden; ++i) {
        double moved = 0.0;
        for (std::int64_t j = 0; j < hidden; ++j)
          moved = math::fma(static_cast<double>(update.row(o)[j]), projector[i * hidden + j], moved);
        weights.row(o)[i] = static_cast<float>(math::fma(kappa, moved, static_cast<double>(weights.row(o)[i])));
      }
    }
  });
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

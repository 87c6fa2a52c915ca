// SPDX-License-Identifier: Apache-2.0
//! \file
//! Batch statistics of a router on the host: mean probabilities, z-loss, how well experts separate tokens.
#ifndef RESONANCE_BALANCE_HOST_BALANCE_HPP
#define RESONANCE_BALANCE_HOST_BALANCE_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <resonance/balance/statistics.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! What the router's statistics are made in: sums of every block of tokens, a row of numerators per worker.
struct router_sums {
  double* of_block = nullptr;  // [blocks, E + 1]: every expert's probability, then the squared log-sums
  float* rows = nullptr;       // [workers, E]
  std::int64_t blocks = 0;
  std::int64_t experts = 0;

  template <class Executor>
  void carve(workspace_carver& carver, const Executor& executor, std::int64_t tokens, std::int64_t of_experts) {
    blocks = statistics_blocks(tokens);
    experts = of_experts;
    of_block = carver.take<double>(blocks * (experts + 1));
    rows = carver.take<float>(worker_count(executor) * experts);
  }

  //! Sums over logits + logit_bias[E], null = no bias.
  template <class Executor, class Row>
  void add_up(const Executor& executor, const matrix_view<const Row>& logits, const float* logit_bias) const {
    for_ranges(executor, blocks, 1, [&](std::int64_t begin, std::int64_t end, int piece) {
      float* numerator = rows + piece * experts;
      run_widest([&]() RESONANCE_INLINE_LAMBDA {
        for (std::int64_t block = begin; block < end; ++block)
          add_block(logits, logit_bias, block * statistics_block, of_block + block * (experts + 1), numerator);
      });
    });
  }

  double mean(std::int64_t entry, std::int64_t tokens) const {
    double sum = 0.0;
    for (std::int64_t block = 0; block < blocks; ++block) sum += of_block[block * (experts + 1) + entry];
    return tokens > 0 ? sum / static_cast<double>(tokens) : 0.0;
  }

 private:
  template <class Row>
  RESONANCE_FORCE_INLINE void add_block(const matrix_view<const Row>& logits, const float* logit_bias,
                                        std::int64_t first, double* sums, float* numerator) const {
    for (std::int64_t e = 0; e <= experts; ++e) sums[e] = 0.0;
    for (std::int64_t t = first; t < logits.rows && t < first + statistics_block; ++t) {
      const softmax_terms terms = softmax_numerators(
          experts,
          [&](std::int64_t e) RESONANCE_INLINE_LAMBDA {
            const float logit = choosable_score(row_traits<Row>::widen(logits.row(t)[e]), row_traits<Row>::largest);
            return logit_bias != nullptr ? logit + logit_bias[e] : logit;
          },
          [numerator](std::int64_t e) RESONANCE_INLINE_LAMBDA -> float& { return numerator[e]; });
      if (!(terms.sum > 0.0f)) continue;
      for (std::int64_t e = 0; e < experts; ++e) sums[e] += static_cast<double>(math::divide(numerator[e], terms.sum));
      const double log_sum = static_cast<double>(terms.largest) + static_cast<double>(math::log(terms.sum));
      sums[experts] = math::fma(log_sum, log_sum, sums[experts]);
    }
  }
};

}  // namespace detail

namespace balance {

//! Bytes of workspace that host_router_statistics needs: 8 (E + 1) per 256 tokens, and 4 E per worker.
template <class Executor>
std::size_t host_router_statistics_workspace_bytes(const Executor& executor, std::int64_t tokens,
                                                   std::int64_t experts) {
  detail::workspace_carver counter;
  detail::router_sums sums;
  sums.carve(counter, executor, tokens, experts);
  return counter.bytes();
}

//! Mean router probability of every expert, and the z-loss of the batch.
//!
//! Equation   P_i = mean over tokens of softmax(logits_t)_i;  z = mean over tokens of (ln sum_i exp(logits_ti))^2
//! Inputs     logits Row[T,E] strided (or affinities); NaN and -inf are absent; a token without a logit adds 0 to both
//! Outputs    mean_probability double[E], z_loss double[1], both nullable; 0 for T = 0
//! Contract   sums in double over blocks of 256 tokens, then over the blocks: same bits at any worker count
//! Errors     null_pointer, out_of_range (logits), workspace_too_small
//! Resources  host_router_statistics_workspace_bytes; no allocation
//! Cost       T*E reads, one exponential each
//! Example    test/balance/host_balance_test.cpp
template <class Executor, class Row>
status host_router_statistics(const Executor& executor, matrix_view<const Row> logits, double* mean_probability,
                              double* z_loss, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_router_statistics(logits));
  if (!c.result().ok()) return c.result();
  const std::int64_t experts = logits.cols;
  c.also(detail::check_workspace(workspace, host_router_statistics_workspace_bytes(executor, logits.rows, experts)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  detail::router_sums sums;
  sums.carve(carver, executor, logits.rows, experts);
  sums.add_up(executor, logits, nullptr);
  if (mean_probability != nullptr)
    for (std::int64_t e = 0; e < experts; ++e) mean_probability[e] = sums.mean(e, logits.rows);
  if (z_loss != nullptr) *z_loss = sums.mean(experts, logits.rows);
  return {};
}

//! Bytes of workspace that host_calinski_harabasz needs: 8 E, and 8 (E + 3) per column of X.
inline std::size_t host_calinski_harabasz_workspace_bytes(std::int64_t hidden, std::int32_t experts) {
  detail::workspace_carver counter;
  counter.take<std::int64_t>(experts);
  counter.take<double>(hidden * (std::int64_t{experts} + 3));
  return counter.bytes();
}

//! How well the experts separate the tokens that they receive.
//!
//! Equation   CH = sum_i n_i |c_i - c|^2 / sum_i sum_{x of i} |x - c_i|^2, c_i = mean row of expert i, c = mean of all
//!            assigned rows   ETR Eq. 13 (without the usual factor (N - k) / (k - 1))
//! Inputs     x Row[T,H] strided; assignments: ids; a token counts once per assignment
//! Outputs    ratio double[1]; 0 where both sums are 0, +inf where only the lower one is
//! Contract   double, by column, tokens in order: same bits at any worker count
//! Errors     null_pointer, shape_mismatch (x), workspace_too_small
//! Resources  host_calinski_harabasz_workspace_bytes; no allocation
//! Cost       two passes over the assigned rows
//! Example    test/balance/host_balance_test.cpp
template <class Executor, class Row>
status host_calinski_harabasz(const Executor& executor, matrix_view<const Row> x, const assignment_view& assignments,
                              double* ratio, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_assignments(assignments));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_calinski_harabasz(x, assignments, ratio));
  const assignment_view& a = assignments;
  c.also(detail::check_workspace(workspace, host_calinski_harabasz_workspace_bytes(x.cols, a.experts)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  std::int64_t* counts = carver.take<std::int64_t>(a.experts);
  double* columns = carver.take<double>(x.cols * (std::int64_t{a.experts} + 3));
  std::int64_t assigned = 0;
  for (std::int32_t e = 0; e < a.experts; ++e) counts[e] = 0;
  for (std::int64_t slot = 0; slot < a.slots(); ++slot) {
    if (!a.assigned(slot)) continue;
    ++counts[a.ids[slot]];
    ++assigned;
  }
  const auto visit_column = [&](std::int64_t column, const auto& visit) {
    for (std::int64_t t = 0; t < a.tokens; ++t)
      for (std::int64_t slot = a.begin(t); slot < a.end(t); ++slot)
        if (a.assigned(slot)) visit(a.ids[slot], static_cast<double>(row_traits<Row>::widen(x.row(t)[column])));
  };
  detail::for_ranges(executor, x.cols, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t column = begin; column < end; ++column) {
      double* center = columns + column * (a.experts + 3);  // [E] centers, then: center of all, between, within
      double& middle = center[a.experts];
      double& between = center[a.experts + 1];
      double& within = center[a.experts + 2];
      for (std::int32_t e = 0; e < a.experts + 3; ++e) center[e] = 0.0;
      visit_column(column, [&](std::int32_t e, double value) {
        center[e] += value;
        middle += value;
      });
      middle = assigned > 0 ? middle / static_cast<double>(assigned) : 0.0;
      for (std::int32_t e = 0; e < a.experts; ++e) {
        if (counts[e] == 0) continue;
        center[e] /= static_cast<double>(counts[e]);
        const double distance = center[e] - middle;
        between = math::fma(static_cast<double>(counts[e]) * distance, distance, between);
      }
      visit_column(column, [&](std::int32_t e, double value) {
        within = math::fma(value - center[e], value - center[e], within);
      });
    }
  });
  double between = 0.0;
  double within = 0.0;
  for (std::int64_t column = 0; column < x.cols; ++column) {
    between += columns[column * (a.experts + 3) + a.experts + 1];
    within += columns[column * (a.experts + 3) + a.experts + 2];
  }
  *ratio = detail::scatter_ratio(between, within);
  return {};
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Affinity on the host: rows of delta from hidden states or logits, as a matrix or straight into the next stage.
#ifndef RESONANCE_AFFINITY_HOST_AFFINITY_HPP
#define RESONANCE_AFFINITY_HOST_AFFINITY_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <resonance/affinity/host_slice_layout.hpp>
#include <resonance/affinity/host_slices_avx512.hpp>
#include <resonance/affinity/input.hpp>
#include <resonance/affinity/metrics.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/ordered_sum.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! One row as floats: the row itself, or widened into `scratch`.
RESONANCE_FORCE_INLINE const float* widen_row(const float* row, std::int64_t, float*) { return row; }

template <class T>
RESONANCE_FORCE_INLINE const float* widen_row(const T* row, std::int64_t count, float* scratch) {
  for (std::int64_t j = 0; j < count; ++j) scratch[j] = row_traits<T>::widen(row[j]);
  return scratch;
}

RESONANCE_FORCE_INLINE float sum_of_products(const float* a, const float* b, std::int64_t begin, std::int64_t end) {
  return ordered_sum(begin, end,
                     [=](float sum, std::int64_t j) RESONANCE_INLINE_LAMBDA { return math::fma(a[j], b[j], sum); });
}

RESONANCE_FORCE_INLINE float sum_of_values(const float* a, std::int64_t begin, std::int64_t end) {
  return ordered_sum(begin, end, [=](float sum, std::int64_t j) RESONANCE_INLINE_LAMBDA { return sum + a[j]; });
}

RESONANCE_FORCE_INLINE float norm(const float* a, std::int64_t begin, std::int64_t end) {
  return math::sqrt(sum_of_products(a, a, begin, end));
}

template <class Source>
std::size_t carve_source(Source& source, int workers, void* base) {
  workspace_carver carver(base);
  source.carve(carver, workers);
  return carver.bytes();
}

}  // namespace detail

namespace affinity {

//! A row source on the host: what token choice pulls deltas from, a few tokens at a time, without a [T,E] matrix.
//! The primary template refuses an input that the metric does not read.
template <class Metric, class Input>
class host_source {
  static_assert(detail::always_false<Metric>,
                "resonance: this metric does not read this input (dot, cosine, grouped_average_cosine and "
                "grouped_average read hidden_input; logits and cosine_of_logits read logits_input)");
};

template <class Metric, class X, class W>
class host_source<Metric, hidden_input<X, W>> {
 public:
  static constexpr float largest = row_traits<float>::largest;

  host_source(const Metric& metric, const hidden_input<X, W>& input) : metric_(metric), input_(input) {}

  std::int64_t tokens() const { return input_.hidden.rows; }
  std::int32_t experts() const { return detail::experts_of<Metric>(input_); }
  //! Steps of work that a token takes: what its worker is given enough of.
  std::int64_t steps_per_token() const {
    return input_.hidden.cols * (Metric::reads == operand::gate ? std::int64_t{experts()} : 1);
  }

  status check() const { return detail::check_input<Metric>(input_); }

  void carve(detail::workspace_carver& carver, int workers) {
    expert_norms_ = carver.take<float>(experts());
    if (Metric::reads == operand::slice) layout_.carve(carver, experts(), input_.hidden.cols);
    widened_ = carver.take<float>(workers * scratch_floats());
  }

  //! Computes what all tokens share (where slices lie, the experts' norms); once, before rows().
  template <class Executor>
  void prepare(const Executor& executor) const {
    if (Metric::reads == operand::slice) layout_.make();
    detail::for_ranges(executor, experts(), 64, [&](std::int64_t begin, std::int64_t end, int piece) {
      detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
        for (std::int64_t e = begin; e < end; ++e) expert_norms_[e] = expert_norm(e, piece);
      });
    });
  }

  //! delta of tokens [first, first + count), count <= block, into out [count, E] with its stride; in worker `piece`.
  RESONANCE_FORCE_INLINE void rows(std::int64_t first, int count, int piece, float* out, std::int64_t stride) const {
#if RESONANCE_DETAIL_AVX512
    if constexpr (Metric::reads == operand::slice && is_own_row_type<X>) {
      if (detail::has_avx512()) return slice_rows(first, count, out, stride);
    }
#endif
    const std::int64_t hidden = input_.hidden.cols;
    const std::int32_t experts = this->experts();
    float* scratch = widened_ + piece * scratch_floats();
    const float* x[block];
    float token_norm[block];
    for (int t = 0; t < count; ++t) {
      x[t] = detail::widen_row(input_.hidden.row(first + t), hidden, scratch + t * hidden);
      token_norm[t] = Metric::needs_norms ? detail::norm(x[t], 0, hidden) : 0.0f;
    }
    if (Metric::reads == operand::gate) {
      for (std::int32_t e = 0; e < experts; ++e) {
        const float* w = detail::widen_row(input_.gate.row(e), hidden, scratch + block * hidden);
        for (int t = 0; t < count; ++t) {
          const float sum = detail::sum_of_products(x[t], w, 0, hidden);
          out[t * stride + e] = metric_.finish(sum, token_norm[t], expert_norms_[e]);
        }
      }
    } else {
      for (int t = 0; t < count; ++t) {
        for (std::int32_t e = 0; e < experts; ++e) {
          const std::int64_t begin = slice_begin(e, experts, hidden);
          const std::int64_t end = slice_begin(e + 1, experts, hidden);
          const float sum = input_.slice_weights == nullptr
                                ? detail::sum_of_values(x[t], begin, end)
                                : detail::sum_of_products(x[t], input_.slice_weights, begin, end);
          out[t * stride + e] = metric_.finish(sum, token_norm[t], expert_norms_[e]);
        }
      }
    }
  }

  static constexpr int block = 8;

 private:
#if RESONANCE_DETAIL_AVX512
  void slice_rows(std::int64_t first, int count, float* out, std::int64_t stride) const {
    const std::int64_t hidden = input_.hidden.cols;
    const std::int64_t rows_ahead = detail::row_ahead<X>::distance / hidden;
    const auto row = [&](std::int64_t t) { return input_.hidden.row(t < tokens() ? t : tokens() - 1); };
    for (std::int64_t t = first; t < first + count; ++t) {
      const detail::row_ahead<X> x = {row(t), row(t + rows_ahead), row(t + rows_ahead + 1),
                                      detail::row_ahead<X>::distance % hidden};
      float* delta = out + (t - first) * stride;
      const float* weights = input_.slice_weights;
      if (weights == nullptr) {
        detail::score_slices<false>(metric_, layout_, x, weights, hidden, experts(), expert_norms_, delta);
      } else {
        detail::score_slices<true>(metric_, layout_, x, weights, hidden, experts(), expert_norms_, delta);
      }
    }
  }
#endif

  //! Rows that are not float are widened once per block: `block` rows of X, and one of W.
  std::int64_t scratch_floats() const {
    constexpr bool widens = !(std::is_same_v<X, float> && (Metric::reads != operand::gate || std::is_same_v<W, float>));
    return widens ? (block + 1) * input_.hidden.cols : 0;
  }

  RESONANCE_FORCE_INLINE float expert_norm(std::int64_t expert, int piece) const {
    const std::int64_t hidden = input_.hidden.cols;
    if constexpr (Metric::reads == operand::gate) {
      if constexpr (!Metric::needs_norms) return 0.0f;
      float* scratch = widened_ + piece * scratch_floats() + (scratch_floats() > 0 ? block * hidden : 0);
      return detail::norm(detail::widen_row(input_.gate.row(expert), hidden, scratch), 0, hidden);
    } else {
      const std::int64_t begin = slice_begin(expert, experts(), hidden);
      const std::int64_t end = slice_begin(expert + 1, experts(), hidden);
      if constexpr (!Metric::needs_norms) return static_cast<float>(end - begin);
      return input_.slice_weights == nullptr ? math::sqrt(static_cast<float>(end - begin))
                                             : detail::norm(input_.slice_weights, begin, end);
    }
  }

  Metric metric_;
  hidden_input<X, W> input_;
  detail::slice_layout layout_;
  float* expert_norms_ = nullptr;
  float* widened_ = nullptr;
};

template <class Metric, class L>
class host_source<Metric, logits_input<L>> {
 public:
  static constexpr float largest = row_traits<L>::largest;
  static constexpr int block = 8;

  host_source(const Metric& metric, const logits_input<L>& input) : metric_(metric), input_(input) {}

  std::int64_t tokens() const { return input_.logits.rows; }
  std::int32_t experts() const { return detail::experts_of<Metric>(input_); }
  std::int64_t steps_per_token() const { return experts(); }

  status check() const { return detail::check_input<Metric>(input_); }

  void carve(detail::workspace_carver&, int) {}

  template <class Executor>
  void prepare(const Executor&) const {}

  //! The logits themselves, where they are the deltas and of a type of the library's own.
  template <class Plain = Metric>
  std::enable_if_t<std::is_same_v<Plain, affinity::logits> && is_own_row_type<L>, matrix_view<const L>> stored() const {
    return input_.logits;
  }

  RESONANCE_FORCE_INLINE void rows(std::int64_t first, int count, int, float* out, std::int64_t stride) const {
    const std::int64_t experts = input_.logits.cols;
    for (int t = 0; t < count; ++t) {
      const L* row = input_.logits.row(first + t);
      const float token_norm = Metric::needs_norms ? input_.token_norms[first + t] : 0.0f;
      for (std::int64_t e = 0; e < experts; ++e) {
        const float expert_norm = Metric::needs_norms ? input_.gate_norms[e] : 0.0f;
        out[t * stride + e] = metric_.finish(row_traits<L>::widen(row[e]), token_norm, expert_norm);
      }
    }
  }

 private:
  Metric metric_;
  logits_input<L> input_;
};

//! Bytes of workspace that host_affinity needs: 4 E; for metrics on slices some 22 E and H / 2 more; for rows that are
//! not float 36 H per worker.
template <class Executor, class Metric, class Input>
std::size_t host_affinity_workspace_bytes(const Executor& executor, const Metric& metric, const Input& input) {
  host_source<Metric, Input> source(metric, input);
  return source.check().ok() ? detail::carve_source(source, detail::worker_count(executor), nullptr) : 0;
}

//! Scores every (token, expert) pair with a metric, before any score function.
//!
//! Equation   see the metric; sums in the order of ordered_sum.hpp, fused multiply-add, correctly rounded sqrt and /
//! Inputs     hidden X[T,H], gate W[E,H] strided; or logits L[T,E] strided
//! Outputs    affinity float[T,E] strided; +inf is written as the largest finite value of the logits' type
//! Contract   same bits at any worker count and instruction set; a NaN operand gives NaN, which is never chosen
//! Errors     null_pointer, out_of_range (E < 1; E > H for metrics on slices), shape_mismatch (gate, affinity),
//!            index_overflow, workspace_too_small
//! Resources  host_affinity_workspace_bytes; no allocation
//! Cost       slices: T*H reads, T*E writes; gate: T*E*H multiply-adds (bring logits from a BLAS where that hurts)
//! Example    test/affinity/host_affinity_test.cpp
template <class Executor, class Metric, class Input>
status host_affinity(const Executor& executor, const Metric& metric, const Input& input, matrix_view<float> affinity,
                     workspace_view workspace) {
  host_source<Metric, Input> source(metric, input);
  detail::checks c;
  c.also(source.check());
  c.also(detail::check_matrix(affinity, "affinity"));
  if (!c.result().ok()) return c.result();
  c.matches(affinity.rows == source.tokens() && affinity.cols == source.experts(), "affinity");
  const int workers = detail::worker_count(executor);
  c.also(detail::check_workspace(workspace, detail::carve_source(source, workers, nullptr)));
  if (!c.result().ok() || source.tokens() == 0) return c.result();
  detail::carve_source(source, workers, workspace.data);
  source.prepare(executor);

  detail::for_ranges(executor, source.tokens(), detail::token_grain(source),
                     [&](std::int64_t begin, std::int64_t end, int piece) {
                       detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
                         constexpr std::int64_t block = host_source<Metric, Input>::block;
                         for (std::int64_t first = begin; first < end; first += block) {
                           const std::int64_t count = end - first < block ? end - first : block;
                           source.rows(first, static_cast<int>(count), piece, affinity.row(first), affinity.stride);
                           for (std::int64_t t = first; t < first + count; ++t) {
                             float* row = affinity.row(t);
                             for (std::int64_t e = 0; e < affinity.cols; ++e)
                               row[e] = row[e] == HUGE_VALF ? host_source<Metric, Input>::largest : row[e];
                           }
                         }
                       });
                     });
  return {};
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

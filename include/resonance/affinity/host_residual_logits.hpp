// SPDX-License-Identifier: Apache-2.0
//! \file
//! Rows of residual logits on the host.
#ifndef RESONANCE_AFFINITY_HOST_RESIDUAL_LOGITS_HPP
#define RESONANCE_AFFINITY_HOST_RESIDUAL_LOGITS_HPP

#include <cstdint>

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/residual_logits.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

template <class L, class G, class W>
class host_source<logits, residual_logits_input<L, G, W>> {
  using products_type = host_source<dot, hidden_input<G, W>>;

 public:
  static constexpr float largest = row_traits<float>::largest;
  static constexpr int block = products_type::block;

  host_source(const affinity::logits&, const residual_logits_input<L, G, W>& input)
      : input_(input), products_(dot{}, input.products()) {}

  std::int64_t tokens() const { return input_.logits.rows; }
  std::int32_t experts() const { return static_cast<std::int32_t>(input_.logits.cols); }
  std::int64_t steps_per_token() const { return products_.steps_per_token(); }
  status check() const { return input_.check(); }
  void carve(detail::workspace_carver& carver, int workers) { products_.carve(carver, workers); }

  template <class Executor>
  void prepare(const Executor& executor) const {
    products_.prepare(executor);
  }

  RESONANCE_FORCE_INLINE void rows(std::int64_t first, int count, int piece, float* out, std::int64_t stride) const {
    products_.rows(first, count, piece, out, stride);
    const std::int64_t experts = input_.logits.cols;
    for (int t = 0; t < count; ++t) {
      const L* row = input_.logits.row(first + t);
      float* sums = out + t * stride;
      for (std::int64_t e = 0; e < experts; ++e) sums[e] = row_traits<L>::widen(row[e]) + sums[e];
    }
  }

 private:
  residual_logits_input<L, G, W> input_;
  products_type products_;
};

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Rows of residual logits by the threads of a warp.
#ifndef RESONANCE_AFFINITY_WARP_RESIDUAL_LOGITS_CUH
#define RESONANCE_AFFINITY_WARP_RESIDUAL_LOGITS_CUH

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/residual_logits.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

template <class L, class G, class W>
class warp_source<logits, residual_logits_input<L, G, W>> {
  using products_type = detail::gate_source<dot, hidden_input<G, W>>;

 public:
  static constexpr float largest = row_traits<float>::largest;
  static constexpr int block = products_type::block;
  static constexpr bool whole_warp = products_type::whole_warp;
  static constexpr int scratch_floats = products_type::scratch_floats;

  warp_source(const affinity::logits&, const residual_logits_input<L, G, W>& input)
      : input_(input), products_(dot{}, input.products()) {}

  RESONANCE_HOST_DEVICE std::int64_t tokens() const { return input_.logits.rows; }
  RESONANCE_HOST_DEVICE std::int32_t experts() const { return static_cast<std::int32_t>(input_.logits.cols); }
  status check() const { return input_.check(); }

  RESONANCE_DEVICE void fill(const warp_team& warp, std::int64_t first, int count, float* rows, std::int64_t stride,
                             float*, int part, int parts) const {
    products_.with_each(warp, first, count, part, parts, [&](int t, std::int32_t e, float sum) {
      rows[t * stride + e] = row_traits<L>::widen(load(input_.logits.row(first + t) + e)) + sum;
    });
  }

 private:
  residual_logits_input<L, G, W> input_;
  products_type products_;
};

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

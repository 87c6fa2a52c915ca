// SPDX-License-Identifier: Apache-2.0
//! \file
//! A quantile of a batch's affinities, by a block.
#ifndef RESONANCE_BALANCE_BLOCK_DELTA_QUANTILE_CUH
#define RESONANCE_BALANCE_BLOCK_DELTA_QUANTILE_CUH

#include <resonance/balance/delta_quantile.hpp>
#include <resonance/config.hpp>
#include <resonance/core/block_select.cuh>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! A goal for block_select: the values from the quantile up, the least of which it is.
struct select_quantile {
  static constexpr bool weighs = false;
  double q;
  RESONANCE_DEVICE std::uint64_t weight(int, std::uint64_t) const { return 1; }
  RESONANCE_DEVICE std::uint64_t target(int, std::uint64_t keys, std::uint64_t) const {
    if (keys == 0) return 0;
    const auto count = static_cast<std::int64_t>(keys);
    return static_cast<std::uint64_t>(count - detail::quantile_rank(q, count) + 1);
  }
};

//! Finds the q-quantile of the first `rows` rows of affinities.
//!
//! Threads    all of the block
//! Inputs     affinity float[T,K] strided, fewer than 2^32 values; NaN and -inf are absent
//! Outputs    the quantile, in every thread; -inf where no value is there
//! Contract   same bits as host_delta_quantile
//! Resources  scratch in shared memory; ends with a barrier
//! Cost       block_select's sweeps: some three
//! Example    test/simt/balance/device_delta_quantile_test.cpp
RESONANCE_DEVICE float block_delta_quantile(selection_scratch<1, false>& s, const matrix_view<const float>& affinity,
                                            std::int64_t rows, double q) {
  const auto cols = static_cast<std::uint32_t>(affinity.cols);
  const auto key_at = [&](int, std::uint32_t i) {
    return pack_key(order_key(load(affinity.row(i / cols) + i % cols)), i);
  };
  block_select<1>(s, 1, rows * affinity.cols, key_at, select_quantile{q}, ignore_selected{});
  const float quantile = s.taken[0] > 0 ? score_of_key(packed_key(s.threshold(0))) : math::negative_infinity();
  sync_block();
  return quantile;
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Batch statistics by a block: a tile of tokens for the router's probabilities, a few columns of X for how well
//! experts separate tokens. The additions are in the host's order.
#ifndef RESONANCE_BALANCE_BLOCK_BALANCE_CUH
#define RESONANCE_BALANCE_BLOCK_BALANCE_CUH

#include <resonance/balance/statistics.hpp>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/expert_members.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/softmax.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>
#include <resonance/core/warp_sum.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace balance {

//! Shared memory of block_router_sums.
struct router_scratch {
  softmax_terms terms[detail::statistics_block];
  double log_sums[detail::statistics_block];  // ln of the sum of a token's exponentials; 0 for a token without a logit
};

//! Probabilities of some rows in shared memory: float[room]. Rows longer than a quarter of it are read three times
//! instead.
struct probability_space {
  static constexpr std::int64_t least_rows = 4;
  float* probabilities = nullptr;
  std::int64_t room = 0;

  RESONANCE_DEVICE std::int64_t rows(std::int64_t experts) const {
    const std::int64_t fit = room / experts;
    return fit < least_rows ? 0 : fit;
  }
};

//! Logits as softmax reads them: choosable, plus the expert's bias if there is one.
template <class Row>
struct router_logits {
  matrix_view<const Row> logits;      //!< [T,E]
  const float* logit_bias = nullptr;  //!< [E]; null = none

  RESONANCE_DEVICE float of(std::int64_t expert, float value) const {
    const float logit = choosable_score(value, row_traits<Row>::largest);
    return logit_bias != nullptr ? logit + load(logit_bias + expert) : logit;
  }
  RESONANCE_DEVICE float at(std::int64_t token, std::int64_t expert) const {
    return of(expert, row_traits<Row>::widen(load(logits.row(token) + expert)));
  }
};

//! The largest logit of a row and the sum of its exponentials, by a warp; the probabilities too, unless that pointer is
//! null. Same bits as softmax_numerators.
template <class Row>
RESONANCE_DEVICE softmax_terms warp_router_row(const router_logits<Row>& in, std::int64_t token, float* probabilities) {
  const warp_team warp;
  const std::int64_t experts = in.logits.cols;
  float largest = math::negative_infinity();
  load_row(warp, in.logits.row(token), experts, [&](std::int64_t e, float value) {
    const float logit = in.of(e, value);
    largest = logit > largest ? logit : largest;
    if (probabilities != nullptr) probabilities[e] = logit;
  });
  largest = warp.max(largest);
  const float shift = largest == math::negative_infinity() ? 0.0f : largest;
  if (probabilities == nullptr) {
    const auto add = [&](float sum, std::int64_t e) { return sum + math::exp(in.at(token, e) - shift); };
    return {shift, tile_ordered_sum(warp, 0, experts, add)};
  }
  warp.sync();
  for (std::int64_t e = warp.rank(); e < experts; e += warp.size())
    probabilities[e] = math::exp(probabilities[e] - shift);
  warp.sync();
  const float total =
      tile_ordered_sum(warp, 0, experts, [&](float sum, std::int64_t e) { return sum + probabilities[e]; });
  warp.sync();       // all have read what is overwritten now
  if (total > 0.0f)  // else all of them are 0
    for (std::int64_t e = warp.rank(); e < experts; e += warp.size())
      probabilities[e] = math::divide(probabilities[e], total);
  warp.sync();
  return {shift, total};
}

//! Adds up the router's probabilities over one tile of tokens.
//!
//! Threads    all of the block; a warp per token, then a thread per expert
//! Inputs     in: logits Row[T,E] strided, and their bias; tokens [first, end), at least one and at most statistics_block
//! Outputs    sums double[E + 1]: of every expert's probability, and of the squared log-sum
//! Contract   tokens in order: same bits as the host's tile
//! Resources  scratch and space in shared memory; ends with a barrier
//! Cost       the rows once, and 16 E per group of rows in `space` but one; longer rows three times
//! Example    test/simt/balance/device_balance_test.cpp
template <class Row>
RESONANCE_DEVICE void block_router_sums(router_scratch& s, const probability_space& space, const router_logits<Row>& in,
                                        std::int64_t first, std::int64_t end, double* sums) {
  const std::int64_t experts = in.logits.cols;
  const std::int64_t staged = space.rows(experts);
  const std::int64_t group = staged > 0 ? staged : detail::statistics_block;
  const int warps = block_threads() / warp_size;
  for (std::int64_t begin = first; begin < end; begin += group) {
    const std::int64_t rows = end - begin < group ? end - begin : group;
    for (std::int64_t r = warp_id(); r < rows; r += warps) {
      const softmax_terms terms =
          warp_router_row(in, begin + r, staged > 0 ? space.probabilities + r * experts : nullptr);
      if (lane_id() != 0) continue;
      s.terms[r] = terms;
      s.log_sums[r] =
          terms.sum > 0.0f ? static_cast<double>(terms.largest) + static_cast<double>(math::log(terms.sum)) : 0.0;
    }
    sync_block();
    for (std::int64_t e = block_thread(); e <= experts; e += block_threads()) {
      double sum = begin > first ? load(sums + e) : 0.0;
      for (std::int64_t r = 0; r < rows; ++r) {
        if (e == experts) {
          sum = math::fma(s.log_sums[r], s.log_sums[r], sum);
        } else if (staged > 0) {
          sum += static_cast<double>(space.probabilities[r * experts + e]);
        } else if (s.terms[r].sum > 0.0f) {
          const float exponential = math::exp(in.at(begin + r, e) - s.terms[r].largest);
          sum += static_cast<double>(math::divide(exponential, s.terms[r].sum));
        }
      }
      store(sums + e, sum);
    }
    sync_block();
  }
}

//! The mean over all tokens of entry `e` of the tiles' sums [tiles, E + 1], by one thread.
RESONANCE_DEVICE double thread_router_mean(const double* sums, std::int64_t entries, std::int64_t e,
                                           std::int64_t tokens) {
  double sum = 0.0;
  for (std::int64_t tile = 0; tile < detail::statistics_blocks(tokens); ++tile) sum += load(sums + tile * entries + e);
  return tokens > 0 ? sum / static_cast<double>(tokens) : 0.0;
}

//! Columns of X that a block takes: one per lane of its one warp.
inline constexpr int scatter_columns = warp_size;

//! What a warp keeps of its columns: in shared memory where it fits, else in global memory.
struct scatter_scratch {
  double* centers = nullptr;       //!< [E, scatter_columns]
  std::int64_t* counts = nullptr;  //!< [E]

  RESONANCE_HOST_DEVICE static constexpr std::size_t bytes(std::int64_t experts) {
    return static_cast<std::size_t>(experts) * (scatter_columns * sizeof(double) + sizeof(std::int64_t));
  }
  RESONANCE_DEVICE static scatter_scratch at(unsigned char* memory, std::int64_t experts) {
    auto* centers = reinterpret_cast<double*>(memory);
    return {centers, reinterpret_cast<std::int64_t*>(centers + experts * scatter_columns)};
  }
};

//! The scatter of one column: between the experts' means, and within the experts.
struct column_scatter {
  double between = 0.0;
  double within = 0.0;
};

//! Computes the scatter of up to 32 neighbouring columns of X, one per lane.
//!
//! Threads    one warp
//! Inputs     x Row[T,H] strided; column: the lane's own; a: ids; tokens: how many to look at
//! Outputs    the lane's scatter; 0 for a column past H
//! Contract   tokens and slots in order, in double: same bits as the host's column
//! Cost       X twice; a chain of additions as long as there are slots
//! Example    test/simt/balance/device_balance_test.cpp
template <class Row>
RESONANCE_DEVICE column_scatter warp_column_scatter(const scatter_scratch& s, const matrix_view<const Row>& x,
                                                    std::int64_t column, const assignment_view& a,
                                                    std::int64_t tokens) {
  const warp_team warp;
  const int lane = warp.rank();
  for (std::int64_t i = lane; i < std::int64_t{a.experts} * scatter_columns; i += warp.size())
    store(s.centers + i, 0.0);
  for (std::int64_t e = lane; e < a.experts; e += warp.size()) store(s.counts + e, std::int64_t{0});
  warp.sync();
  const auto center_of = [&](std::int32_t e) { return s.centers + std::int64_t{e} * scatter_columns + lane; };
  const auto visit_assigned = [&](const auto& visit) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double value = column < x.cols ? static_cast<double>(row_traits<Row>::widen(load(x.row(t) + column))) : 0.0;
      const std::int64_t end = detail::first_slot(a, t + 1);
      for (std::int64_t slot = detail::first_slot(a, t); slot < end; ++slot) {
        const std::int32_t e = load(a.ids + slot);
        if (a.is_expert(e)) visit(e, value);
      }
    }
  };
  double middle = 0.0;
  std::int64_t assigned = 0;
  visit_assigned([&](std::int32_t e, double value) {
    double* center = center_of(e);
    store(center, load(center) + value);
    middle += value;
    ++assigned;
    if (lane == 0) store(s.counts + e, load(s.counts + e) + 1);
  });
  warp.sync();
  middle = assigned > 0 ? middle / static_cast<double>(assigned) : 0.0;
  column_scatter scatter;
  for (std::int32_t e = 0; e < a.experts; ++e) {
    const std::int64_t count = load(s.counts + e);
    if (count == 0) continue;
    const double center = load(center_of(e)) / static_cast<double>(count);
    store(center_of(e), center);
    const double distance = center - middle;
    scatter.between = math::fma(static_cast<double>(count) * distance, distance, scatter.between);
  }
  visit_assigned([&](std::int32_t e, double value) {
    const double distance = value - load(center_of(e));
    scatter.within = math::fma(distance, distance, scatter.within);
  });
  return column < x.cols ? scatter : column_scatter{};
}

}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

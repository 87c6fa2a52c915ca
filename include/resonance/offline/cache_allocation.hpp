// SPDX-License-Identifier: Apache-2.0
//! \file
//! How many experts of each layer stay in fast memory under a budget.
#ifndef RESONANCE_OFFLINE_CACHE_ALLOCATION_HPP
#define RESONANCE_OFFLINE_CACHE_ALLOCATION_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

//! What is known of the layers of a model whose tokens choose two experts, or one where the second weighs too little.
struct cache_layers {
  std::int32_t layers = 0;
  std::int32_t experts = 0;              //!< N >= 2, per layer
  const double* single_share = nullptr;  //!< [layers] r in [0, 1]: tokens that keep one expert
  const double* accuracy = nullptr;      //!< [layers] a in [0, 1]: prefetches that were right; the first layer's is 0
};

//! The experts that a token has to load on the way where `cached` of N experts, chosen evenly, are in fast memory.
//!
//! Equation   f(t) = r (1 - t/N) (1 - a) + (1 - r) (2 p2 (1 - a) + p2 a + p1 (1 - a)),
//!            p2 = (N-t)(N-t-1) / (N(N-1)) (both missing), p1 = 2t(N-t) / (N(N-1)) (one)   AdapMoE, arXiv 2408.10284
//! Contract   t outside [0, N] counts as the nearer end; f(N) = 0; never rises with t
inline double expected_loads(std::int64_t cached, std::int32_t experts, double single_share, double accuracy) {
  const double n = static_cast<double>(experts);
  const double t = cached < 0 ? 0.0 : (cached < experts ? static_cast<double>(cached) : n);
  const double pairs = n * (n - 1.0);
  const double both_missing = (n - t) * (n - t - 1.0) / pairs;
  const double one_missing = 2.0 * t * (n - t) / pairs;
  const double of_one = (1.0 - t / n) * (1.0 - accuracy);
  const double of_two = math::fma(both_missing, 2.0 - accuracy, one_missing * (1.0 - accuracy));
  return math::fma(single_share, of_one, (1.0 - single_share) * of_two);
}

}  // namespace offline

namespace detail {

//! What of the budget can be used.
inline std::int64_t usable_slots(const offline::cache_layers& model, std::int64_t budget) {
  const std::int64_t most = std::int64_t{model.layers} * model.experts;
  return budget < most ? budget : most;
}

inline status check_allocate_cache(const offline::cache_layers& model, std::int64_t budget, const std::int32_t* slots) {
  checks c;
  c.in_range(model.layers >= 1, "layers").in_range(model.experts >= 2, "experts");
  c.present(model.single_share, true, "single_share").present(model.accuracy, true, "accuracy");
  c.present(slots, true, "slots").in_range(budget >= model.layers, "budget");
  if (!c.result().ok()) return c.result();
  c.fits(std::int64_t{model.layers} + 1 <= max_slots / (usable_slots(model, budget) + 1), "budget");
  if (!c.result().ok()) return c.result();
  const auto is_share = [](double x) { return x >= 0.0 && x <= 1.0; };
  for (std::int32_t l = 0; l < model.layers; ++l)
    c.in_range(is_share(model.single_share[l]), "single_share").in_range(is_share(model.accuracy[l]), "accuracy");
  return c.result();
}

}  // namespace detail

namespace offline {

//! Bytes of workspace that allocate_cache needs: 8 (layers + 1) (S + 1), S = min(budget, layers * N).
inline std::size_t allocate_cache_workspace_bytes(const cache_layers& model, std::int64_t budget) {
  if (model.layers < 1 || budget < 0) return 0;
  detail::workspace_carver counter;
  counter.take<double>((std::int64_t{model.layers} + 1) * (detail::usable_slots(model, budget) + 1));
  return counter.bytes();
}

//! Gives every layer its share of the fast memory, so that a token loads as few experts as can be expected.
//!
//! Equation   min sum_l f_l(t_l)  s.t. sum_l t_l = min(budget, layers * N), 1 <= t_l <= N   AdapMoE, arXiv 2408.10284,
//!            cache allocation by dynamic programming over the layers; f: expected_loads
//! Inputs     model; budget >= layers: experts that fit fast memory
//! Outputs    slots int32[layers]; loads double[1], nullable: the least sum
//! Contract   exact but for the rounding of the sums, from the last layer to the first; equal sums: fewer
//!            to the earlier
//! Errors     out_of_range (layers, experts, budget, single_share, accuracy), null_pointer (single_share, accuracy,
//!            slots), index_overflow (budget), workspace_too_small
//! Resources  allocate_cache_workspace_bytes; no allocation
//! Cost       O(layers * S * N)
//! Example    test/offline/cache_allocation_test.cpp
inline status allocate_cache(const cache_layers& model, std::int64_t budget, std::int32_t* slots, double* loads,
                             workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_allocate_cache(model, budget, slots));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, allocate_cache_workspace_bytes(model, budget)));
  if (!c.result().ok()) return c.result();

  const std::int64_t usable = detail::usable_slots(model, budget);
  const std::int64_t row = usable + 1;  // best[l][left]: the least sum of the layers from l on with `left` slots
  double* best = detail::workspace_carver(workspace.data).take<double>((std::int64_t{model.layers} + 1) * row);
  const auto with = [&](std::int32_t l, std::int64_t left, std::int32_t t) {
    const double own = expected_loads(t, model.experts, model.single_share[l], model.accuracy[l]);
    return t > left ? HUGE_VAL : own + best[(l + 1) * row + left - t];
  };
  const auto best_slots = [&](std::int32_t l, std::int64_t left) {
    std::int32_t found = 1;
    for (std::int32_t t = 2; t <= model.experts; ++t)
      if (with(l, left, t) < with(l, left, found)) found = t;
    return found;
  };
  for (std::int64_t left = 0; left <= usable; ++left) best[model.layers * row + left] = left == 0 ? 0.0 : HUGE_VAL;
  for (std::int32_t l = model.layers - 1; l >= 0; --l)
    for (std::int64_t left = 0; left <= usable; ++left) best[l * row + left] = with(l, left, best_slots(l, left));

  std::int64_t left = usable;
  if (loads != nullptr) *loads = best[left];
  for (std::int32_t l = 0; l < model.layers; ++l) {
    slots[l] = best_slots(l, left);
    left -= slots[l];
  }
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

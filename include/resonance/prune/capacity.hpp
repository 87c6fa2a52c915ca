// SPDX-License-Identifier: Apache-2.0
//! \file
//! Capacity rules: how many assignments an expert keeps (SEMANTICS 6). A rule of your own is a struct like these.
//!
//! `check` says what is wrong with the rule's parameters before anything is written. A rule that points to arrays and
//! reads them there has `check_shape` beside it, which checks the rest: the device, whose arrays the host cannot read,
//! calls that instead.
#ifndef RESONANCE_PRUNE_CAPACITY_HPP
#define RESONANCE_PRUNE_CAPACITY_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/policy.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! ceil(x) as a count, saturating.
RESONANCE_HOST_DEVICE inline std::int64_t ceil_count(double x) {
  constexpr double largest = 9.0e18;
  return static_cast<std::int64_t>(x >= largest ? largest : std::ceil(x));
}

}  // namespace detail

namespace prune {

//! What a rule may look at.
struct batch_facts {
  std::int64_t tokens = 0;   //!< T
  std::int32_t experts = 0;  //!< E
  std::int32_t top_k = 0;    //!< K
  std::int64_t hidden = 0;   //!< H; 0 = unknown
  float delta_max = 0.0f;    //!< largest affinity of an assigned slot; 0 where `needs_delta_max` is false
};

//! No limit: C_i = |A_i| (dropless).
struct unlimited {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  constexpr status check(const batch_facts&) const { return {}; }
  RESONANCE_HOST_DEVICE std::int64_t capacity(const batch_facts&, std::int32_t, std::int64_t assigned) const {
    return assigned;
  }
};

//! C_i = C.
struct fixed {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  std::int64_t count = 1;  //!< C >= 0
  constexpr status check(const batch_facts&) const { return detail::checks{}.in_range(count >= 0, "fixed").result(); }
  RESONANCE_HOST_DEVICE std::int64_t capacity(const batch_facts&, std::int32_t, std::int64_t) const { return count; }
};

//! C_i = ceil(cf * T * K / E), in double, from left to right.   (GShard; the baseline of ETR has cf = 1.1)
struct factor {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  double capacity_factor = 1.1;  //!< cf >= 0, finite
  constexpr status check(const batch_facts&) const {
    return detail::checks{}.in_range(capacity_factor >= 0.0 && capacity_factor <= 1.0e18, "capacity_factor").result();
  }
  RESONANCE_HOST_DEVICE std::int64_t capacity(const batch_facts& batch, std::int32_t, std::int64_t) const {
    return detail::ceil_count(capacity_factor * static_cast<double>(batch.tokens) * static_cast<double>(batch.top_k) /
                              static_cast<double>(batch.experts));
  }
};

//! C_i = ceil(gamma * tau * T / D) for a full expert, ceil(gamma * T / D) for another, D = tau * N_full + N_other;
//! T * K in place of T with counts_k.   (MoE++, arXiv 2410.07348: its FFN experts are full, zero-computation ones not)
//! In double, products from left to right, D with one rounding. Before they are rounded up the capacities add up to
//! gamma * T, whatever tau is: taken at its word, the paper has room for gamma / K of the assignments.
struct heterogeneous_factor {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  double capacity_factor = 1.1;   //!< gamma >= 0, finite
  double tau = 0.75;              //!< > 0, finite: a full expert's capacity over another's
  std::int32_t full_experts = 0;  //!< N_full in [0, E]: the ids below it are full experts
  bool counts_k = false;          //!< capacities for T * K assignments, as `factor` has them; the paper's are for T

  constexpr status check(const batch_facts& batch) const {
    return detail::checks{}
        .also(factor{capacity_factor}.check(batch))
        .in_range(tau > 0.0 && tau <= 1.0e18, "tau")
        .in_range(full_experts >= 0 && full_experts <= batch.experts, "full_experts")
        .result();
  }

  //! D: the experts, a full one counting as tau of another.
  RESONANCE_HOST_DEVICE static double weighted_experts(double tau, std::int32_t full, std::int32_t others) {
    return math::fma(tau, static_cast<double>(full), static_cast<double>(others));
  }

  //! Share of the capacity that full experts hold: their work, over that of as many tokens with full experts alone.
  RESONANCE_HOST_DEVICE static double full_share(double tau, std::int32_t full, std::int32_t others) {
    return tau * static_cast<double>(full) / weighted_experts(tau, full, others);
  }

  RESONANCE_HOST_DEVICE std::int64_t capacity(const batch_facts& batch, std::int32_t expert, std::int64_t) const {
    const double share = expert < full_experts ? capacity_factor * tau : capacity_factor;
    const double tokens = share * static_cast<double>(batch.tokens);
    return detail::ceil_count((counts_k ? tokens * static_cast<double>(batch.top_k) : tokens) /
                              weighted_experts(tau, full_experts, batch.experts - full_experts));
  }
};

//! C_i = clamp(ceil(C_min), floor, min(T, ceil(cf*T*K/E))), C_min = (1/E) exp(H m^2 / (2 - m^2)).   (ETR Remark 7)
//! m = max(0, largest affinity of the batch) (reading D1), or a given value (a quantile, a moving average). The upper
//! end wins over the floor. m^2 >= 2, which no cosine reaches, gives the upper end.
struct lower_bound {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = true;
  bool delta_given = false;      //!< true: m = delta
  double delta = 0.0;            //!< finite
  std::int64_t floor = 1;        //!< >= 0
  double capacity_factor = 1.1;  //!< cf >= 0, finite

  constexpr status check(const batch_facts& batch) const {
    return detail::checks{}
        .in_range(delta >= -1.0e18 && delta <= 1.0e18, "delta")
        .in_range(floor >= 0, "floor")
        .also(factor{capacity_factor}.check(batch))
        .in_range(batch.hidden >= 1, "hidden")
        .result();
  }

  //! C_min itself, +inf where it overflows.
  RESONANCE_HOST_DEVICE static double minimum(double m, std::int64_t hidden, std::int32_t experts) {
    const double square = m * m;
    if (square >= 2.0) return HUGE_VAL;
    return math::exp(static_cast<double>(hidden) * square / math::fma(-m, m, 2.0)) / static_cast<double>(experts);
  }

  RESONANCE_HOST_DEVICE std::int64_t capacity(const batch_facts& batch, std::int32_t expert,
                                              std::int64_t assigned) const {
    const double given = delta_given ? delta : static_cast<double>(batch.delta_max);
    const double c = minimum(given > 0.0 ? given : 0.0, batch.hidden, batch.experts);
    const std::int64_t most = factor{capacity_factor}.capacity(batch, expert, assigned);
    const std::int64_t upper = most < batch.tokens ? most : batch.tokens;
    const std::int64_t wanted = detail::ceil_count(c);
    const std::int64_t raised = wanted < floor ? floor : wanted;
    return raised < upper ? raised : upper;
  }
};

//! One capacity per expert. In device memory they go unchecked: less than 0 keeps nothing, as 0 does.
struct per_expert {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  const std::int64_t* capacities = nullptr;  //!< [E] C_i >= 0
  constexpr status check_shape(const batch_facts&) const {
    return detail::checks{}.present(capacities, true, "capacities").result();
  }
  constexpr status check(const batch_facts& batch) const {
    detail::checks c;
    c.also(check_shape(batch));
    if (!c.result().ok()) return c.result();
    for (std::int32_t e = 0; e < batch.experts; ++e) c.in_range(capacities[e] >= 0, "capacities");
    return c.result();
  }
  RESONANCE_HOST_DEVICE std::int64_t capacity(const batch_facts&, std::int32_t expert, std::int64_t) const {
    return capacities[expert];
  }
};

//! C_i = the least count of best members that holds the share rho of the expert's affinity mass, a = max(delta, 0).
//! (ETR, reading R1 of "a threshold of the sum of affinity scores".) An expert without mass keeps all its members.
//! Cuts in affinity order whatever the drop order. The sums are integers, so no order of additions can matter: see
//! mass_scale.
struct affinity_mass {
  using stage = stages::capacity;
  static constexpr bool by_mass = true;
  static constexpr bool needs_delta_max = false;
  double rho = 1.0;  //!< in (0, 1]
  constexpr status check(const batch_facts&) const {
    return detail::checks{}.in_range(rho > 0.0 && rho <= 1.0, "rho").result();
  }
  //! The mass that the kept members must reach.
  RESONANCE_HOST_DEVICE std::int64_t threshold(std::int64_t total) const {
    return static_cast<std::int64_t>(std::ceil(rho * static_cast<double>(total)));
  }
};

//! a = max(delta, 0), with +inf as the largest finite value and NaN as 0.
RESONANCE_HOST_DEVICE inline float positive_part(float delta) {
  const float finite = choosable_score(delta, row_traits<float>::largest);
  return finite > 0.0f ? finite : 0.0f;
}

//! What an expert's masses are multiplied by to be added up as integers: 2^(30-e), 2^e the least power of two >= its
//! largest a; 0 where a is 0. A scaled a is at most 2^30, so 2^31 members fit 64 bits.
RESONANCE_HOST_DEVICE inline double mass_scale(float largest) {
  constexpr double unit_of_subnormals = 0x1p-149;
  const std::uint32_t bits = detail::float_bits(positive_part(largest));
  if (bits == 0) return 0.0;
  // The bits of a subnormal are its multiple of 2^-149.
  const bool subnormal = bits < 0x00800000u;
  const std::uint32_t normal = subnormal ? detail::float_bits(static_cast<float>(bits)) : bits;
  const double at_most = static_cast<double>(detail::bits_float(normal & 0x7f800000u));
  const double power = (normal & 0x007fffffu) != 0 ? 2.0 * at_most : at_most;
  return 0x1p30 / (subnormal ? power * unit_of_subnormals : power);
}

//! a = max(delta, 0) times `scale`, rounded half to even; the product with a power of two is exact.
RESONANCE_HOST_DEVICE inline std::int64_t mass_units(float delta, double scale) {
  if (!(delta > 0.0f)) return 0;
  constexpr double to_integer = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  constexpr double most_units = 1073741824.0;        // 2^30: more only where the scale is not the largest's
  const double units = static_cast<double>(choosable_score(delta, row_traits<float>::largest)) * scale;
  const double shifted = (units < most_units ? units : most_units) + to_integer;
  return static_cast<std::int64_t>(shifted - to_integer);
}

}  // namespace prune
RESONANCE_NAMESPACE_END

#endif

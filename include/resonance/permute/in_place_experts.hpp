// SPDX-License-Identifier: Apache-2.0
//! \file
//! Experts without rows of their own (MoE++'s zero-computation experts): what unpermute adds for them in place.
#ifndef RESONANCE_PERMUTE_IN_PLACE_EXPERTS_HPP
#define RESONANCE_PERMUTE_IN_PLACE_EXPERTS_HPP

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/permute/row_plan.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace permute {

//! The entries of an expert map for experts without rows. To the plan they are all the same: elsewhere.
namespace in_place {

inline constexpr std::int32_t zero = -1;  //!< E(x) = 0; so does an expert of another rank, whose rows are not here
inline constexpr std::int32_t copy = -2;  //!< E(x) = x
//! E(x) = a1 x + a2 v_n, [a1, a2] = softmax(W_n x)
constexpr std::int32_t constant(std::int32_t n) { return -3 - n; }

//! n of constant(n), for entries below `copy`.
RESONANCE_HOST_DEVICE constexpr std::int32_t constant_number(std::int32_t entry) { return -3 - entry; }

//! a1 and a2.
struct shares {
  float of_input;
  float of_constant;
};

//! The softmax of two logits; a NaN or +inf among them makes both shares NaN.
RESONANCE_HOST_DEVICE RESONANCE_FORCE_INLINE shares mix(float input_logit, float constant_logit) {
  const float largest = input_logit > constant_logit ? input_logit : constant_logit;
  const float input = math::exp(input_logit - largest);
  const float constant = math::exp(constant_logit - largest);
  const float sum = input + constant;
  return {math::divide(input, sum), math::divide(constant, sum)};
}

}  // namespace in_place

//! What the experts without rows need. MoE++ (arXiv 2410.07348).
template <class Row>
struct in_place_experts {
  //! [E] the plan's (plan::options): a local id >= 0 for experts with rows, an entry of in_place for those without.
  const std::int32_t* expert_map = nullptr;
  matrix_view<const Row> x;          //!< [T,H] the tokens' inputs
  matrix_view<const Row> constants;  //!< [N,H] v_n; no rows where no expert is constant
  matrix_view<const float> mixing;   //!< [T,2N] W x: columns 2n and 2n + 1 are the logits of x and of v_n

  //! `y`: the tokens' rows to be written, checked.
  template <class Index>
  status check(const row_plan<Index>& plan, const matrix_view<Row>& y) const {
    const status shape = check_shape(plan, plan.assignments.slots() > 0, y);
    if (!shape.ok() || expert_map == nullptr) return shape;
    detail::checks c;
    for (std::int32_t e = 0; e < plan.assignments.experts; ++e) {
      const std::int32_t entry = expert_map[e];
      c.in_range(entry >= in_place::copy || in_place::constant_number(entry) < constants.rows, "expert_map");
    }
    return c.result();
  }
  //! The same for arrays in device memory. There the entries of expert_map go unchecked: a constant expert that is none
  //! adds nothing.
  template <class Index>
  status check_device(const row_plan<Index>& plan, const matrix_view<Row>& y) const {
    return check_shape(plan, plan.assignments.most_slots() > 0, y);
  }

 private:
  template <class Index>
  status check_shape(const row_plan<Index>& plan, bool any, const matrix_view<Row>& y) const {
    detail::checks c;
    c.present(plan.assignments.ids, any, "assignments.ids").present(expert_map, any, "expert_map");
    c.also(detail::check_matrix(x, "x")).also(detail::check_matrix(constants, "constants"));
    c.also(detail::check_matrix(mixing, "mixing"));
    if (!c.result().ok()) return c.result();
    return c.matches(x.rows == y.rows && x.cols == y.cols, "x")
        .fits(constants.rows <= detail::max_int32 - 3, "constants")
        .matches(constants.rows == 0 || constants.cols == y.cols, "constants")
        .matches(constants.rows == 0 || (mixing.rows == y.rows && mixing.cols == 2 * constants.rows), "mixing")
        .result();
  }
};

}  // namespace permute

namespace detail {

//! `plan_checked`, `experts_checked`: by check() or check_device() of either.
template <class Row, class Index>
status check_unpermute(const status& plan_checked, const matrix_view<const Row>& permuted,
                       const permute::row_plan<Index>& plan, const permute::in_place_experts<Row>& experts,
                       bool on_device, const matrix_view<Row>& y) {
  const status moves = check_unpermute(plan_checked, permuted, plan, y, permute::no_slot::zero, {});
  if (!moves.ok()) return moves;
  return on_device ? experts.check_device(plan, y) : experts.check(plan, y);
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

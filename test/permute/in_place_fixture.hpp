// SPDX-License-Identifier: Apache-2.0
// Batches whose experts partly have rows in a plan and partly are computed in place, what comes of them, and what is
// refused; for either backend.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "permute/fixture.hpp"
#include "resonance/core/math.hpp"
#include "resonance/permute/in_place_experts.hpp"

namespace permute_test {

//! Two of five experts have rows; the others are zero, copies, or one of `constant_count` constants.
template <class Row>
struct in_place_batch {
  support::random_choices choices;
  std::vector<std::int32_t> expert_map;
  std::size_t num_local = 0;
  planned<std::int32_t> plan;
  stored_rows<Row> permuted, x, constants;
  support::guarded_buffer<float> mixing;

  //! `map`: the experts' entries; empty: at random.
  in_place_batch(support::random_source& random, const row_shape& s, std::int32_t constant_count,
                 const support::choice_traits& traits = {support::adversary::ties, 0.3, true},
                 const std::vector<std::int32_t>& map = {})
      : choices(random, s.batch, traits),
        expert_map(map.empty() ? random_map(random, s.batch.experts, constant_count) : map),
        num_local(local_in(expert_map)),
        plan(choices, s.tile_tokens, expert_map, num_local),
        permuted(plan.rows(), s.hidden, s.extra, s.misalignment),
        x(s.batch.tokens, s.hidden, s.extra, s.misalignment),
        constants(constant_count, s.hidden, s.extra, s.misalignment),
        mixing(static_cast<std::size_t>(s.batch.tokens * 2 * constant_count)) {
    permuted.fill_normal(random);
    x.fill_normal(random);
    constants.fill_normal(random);
    for (std::size_t i = 0; i < mixing.size(); ++i) mixing[i] = static_cast<float>(3.0 * random.normal());
  }

  resonance::permute::in_place_experts<Row> experts() const {
    const std::int64_t pairs = 2 * constants.rows;
    return {expert_map.data(), x.read(), constants.read(), {mixing.data(), x.rows, pairs}};
  }

  //! visit(weight, row) for every term of a token, in the contract's order. Real: float, with the library's own exp, or
  //! double.
  template <class Real, class Visit>
  void with_terms(std::int64_t token, const Visit& visit) const {
    const auto k = static_cast<std::int64_t>(choices.top_k());
    for (std::int64_t slot = token * k; slot < (token + 1) * k; ++slot) {
      const std::int32_t id = choices.ids[static_cast<std::size_t>(slot)];
      if (id < 0 || id >= choices.shape.experts) continue;
      const auto w = static_cast<Real>(choices.weights[static_cast<std::size_t>(slot)]);
      const std::int32_t entry = expert_map[static_cast<std::size_t>(id)];
      if (entry >= 0) visit(w, permuted, plan.inverse[static_cast<std::size_t>(slot)]);
      if (entry == -2) visit(w, x, token);
      if (entry > -3) continue;
      const std::int64_t n = -3 - static_cast<std::int64_t>(entry);
      const auto a = static_cast<Real>(mixing[static_cast<std::size_t>(token * 2 * constants.rows + 2 * n)]);
      const auto b = static_cast<Real>(mixing[static_cast<std::size_t>(token * 2 * constants.rows + 2 * n + 1)]);
      const Real largest = std::fmax(a, b);
      const Real of_a = exp_of(a - largest);
      const Real of_b = exp_of(b - largest);
      const Real sum = of_a + of_b;
      visit(w * (of_a / sum), x, token);
      visit(w * (of_b / sum), constants, n);
    }
  }

  reference::matrix expected() const {
    reference::matrix y(static_cast<std::size_t>(x.rows), static_cast<std::size_t>(x.cols));
    for (std::int64_t t = 0; t < x.rows; ++t)
      with_terms<double>(t, [&](double weight, const stored_rows<Row>& rows, std::int64_t row) {
        for (std::int64_t j = 0; j < x.cols; ++j)
          y(static_cast<std::size_t>(t), static_cast<std::size_t>(j)) += weight * value_of(rows.at(row, j));
      });
    return y;
  }

  //! One element, bit for bit: float, first a product, then fused multiply-adds, one rounding; +0 without a term.
  Row exact(std::int64_t token, std::int64_t j) const {
    bool first = true;
    float sum = 0.0F;
    with_terms<float>(token, [&](float weight, const stored_rows<Row>& rows, std::int64_t row) {
      const auto value = static_cast<float>(value_of(rows.at(row, j)));
      sum = first ? weight * value : std::fma(weight, value, sum);
      first = false;
    });
    Row stored;
    encode(sum, stored);
    return stored;
  }

  static float exp_of(float value) { return resonance::math::exp(value); }
  static double exp_of(double value) { return std::exp(value); }

  static std::vector<std::int32_t> random_map(support::random_source& random, std::int32_t experts,
                                              std::int32_t constant_count) {
    std::vector<std::int32_t> map;
    std::int32_t local = 0;
    for (std::int32_t e = 0; e < experts; ++e) {
      const std::size_t kind = random.below(constant_count > 0 ? 5 : 4);
      if (e == 0 || kind < 2) map.push_back(local++);
      if (e > 0 && kind == 2) map.push_back(resonance::permute::in_place::zero);
      if (e > 0 && kind == 3) map.push_back(resonance::permute::in_place::copy);
      if (e > 0 && kind == 4)
        map.push_back(resonance::permute::in_place::constant(
            static_cast<std::int32_t>(random.below(static_cast<std::size_t>(constant_count)))));
    }
    return map;
  }
  static std::size_t local_in(const std::vector<std::int32_t>& map) {
    std::size_t local = 0;
    for (const std::int32_t entry : map) local += entry >= 0 ? 1 : 0;
    return local;
  }
};

//! run(permuted, plan, experts, y) -> status. `reads_map`: the host reads the entries, and refuses bad ones.
template <class Row, class Run>
void expect_in_place_refusals(const Run& run, bool reads_map) {
  using namespace resonance;
  support::random_source random(411);
  in_place_batch<Row> batch(random, {{7, 8, 2}, 5, 0, 0, 1}, 3, {support::adversary::ties, 0.0, false});
  stored_rows<Row> out(7, 5);
  matrix_view<const Row> permuted = batch.permuted.read();
  matrix_view<Row> y = out.view();
  permute::row_plan<std::int32_t> plan = batch.plan.view();
  permute::in_place_experts<Row> experts = batch.experts();
  const auto expect = [&](status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(run(permuted, plan, experts, y), code, argument));
    EXPECT_TRUE(out.memory.untouched()) << argument;
    permuted = batch.permuted.read();
    y = out.view();
    plan = batch.plan.view();
    experts = batch.experts();
  };
  permuted.cols = 4;
  expect(status_code::shape_mismatch, "permuted");
  y.data = nullptr;
  expect(status_code::null_pointer, "y");
  plan.inverse = nullptr;
  expect(status_code::null_pointer, "inverse");
  plan.assignments.ids = nullptr;
  expect(status_code::null_pointer, "assignments.ids");
  plan.assignments.experts = 0;
  expect(status_code::out_of_range, "assignments.experts");
  experts.expert_map = nullptr;
  expect(status_code::null_pointer, "expert_map");
  experts.x.data = nullptr;
  expect(status_code::null_pointer, "x");
  experts.x.rows = 6;
  expect(status_code::shape_mismatch, "x");
  experts.x.cols = 4;
  expect(status_code::shape_mismatch, "x");
  experts.constants.data = nullptr;
  expect(status_code::null_pointer, "constants");
  experts.constants.cols = 4;
  expect(status_code::shape_mismatch, "constants");
  experts.constants.stride = 4;
  expect(status_code::out_of_range, "constants");
  experts.constants.rows = 0x7ffffffd;
  expect(status_code::index_overflow, "constants");
  experts.mixing.data = nullptr;
  expect(status_code::null_pointer, "mixing");
  experts.mixing.rows = 6;
  expect(status_code::shape_mismatch, "mixing");
  experts.mixing.cols = 5;
  expect(status_code::shape_mismatch, "mixing");
  if (!reads_map) return;
  for (const std::int32_t entry : {permute::in_place::constant(3), INT32_MIN}) {
    std::vector<std::int32_t> map = batch.expert_map;
    map.back() = entry;
    experts.expert_map = map.data();
    expect(status_code::out_of_range, "expert_map");
  }
}

}  // namespace permute_test

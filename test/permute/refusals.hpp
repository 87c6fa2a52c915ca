// SPDX-License-Identifier: Apache-2.0
// What permute and unpermute refuse, on either backend: each argument by its name, and nothing is written.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "permute/fixture.hpp"

namespace permute_test {

// run(x, plan, permuted) -> status
template <class Row, class Run>
void expect_permute_refusals(const Run& run) {
  using namespace resonance;
  support::random_source random(87);
  const support::random_choices c(random, {7, 6, 2}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> good(c, 1);
  stored_rows<Row> in(7, 5);
  in.fill_bits(random);
  stored_rows<Row> out(good.rows(), 5);
  matrix_view<const Row> x = in.read();
  matrix_view<Row> permuted = out.view();
  permute::row_plan<std::int32_t> plan = good.view();
  const auto expect = [&](status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(run(x, plan, permuted), code, argument));
    EXPECT_TRUE(out.memory.untouched()) << argument;
    x = in.read();
    permuted = out.view();
    plan = good.view();
  };
  x.data = nullptr;
  expect(status_code::null_pointer, "x");
  x.rows = 6;
  expect(status_code::shape_mismatch, "x");
  x.stride = 4;
  expect(status_code::out_of_range, "x");
  permuted.data = nullptr;
  expect(status_code::null_pointer, "permuted");
  permuted.rows -= 1;
  expect(status_code::shape_mismatch, "permuted");
  permuted.cols = 4;
  expect(status_code::shape_mismatch, "permuted");
  permuted.stride = 4;
  expect(status_code::out_of_range, "permuted");
  plan.inverse = nullptr;
  expect(status_code::null_pointer, "inverse");
  plan.sorted_token_ids = nullptr;
  expect(status_code::null_pointer, "sorted_token_ids");
  plan.num_rows = -1;
  expect(status_code::out_of_range, "num_rows");
  plan.assignments.tokens = -1;
  expect(status_code::out_of_range, "assignments.tokens");
}

// run(permuted, plan, y, x) -> status, with x for tokens without a slot
template <class Row, class Run>
void expect_unpermute_refusals(const Run& run) {
  using namespace resonance;
  support::random_source random(96);
  const support::random_choices c(random, {7, 6, 2}, {support::adversary::ties, 0.0, false});
  const planned<std::int32_t> good(c, 1);
  stored_rows<Row> in(good.rows(), 5);
  in.fill_normal(random);
  stored_rows<Row> tokens(7, 5);
  tokens.fill_normal(random);
  stored_rows<Row> out(7, 5);
  matrix_view<const Row> permuted = in.read();
  matrix_view<const Row> x = tokens.read();
  matrix_view<Row> y = out.view();
  permute::row_plan<std::int32_t> plan = good.view();
  const auto expect = [&](status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(run(permuted, plan, y, x), code, argument));
    EXPECT_TRUE(out.memory.untouched()) << argument;
    permuted = in.read();
    x = tokens.read();
    y = out.view();
    plan = good.view();
  };
  permuted.data = nullptr;
  expect(status_code::null_pointer, "permuted");
  permuted.rows -= 1;
  expect(status_code::shape_mismatch, "permuted");
  permuted.cols = 4;
  expect(status_code::shape_mismatch, "permuted");
  y.data = nullptr;
  expect(status_code::null_pointer, "y");
  y.rows = 6;
  expect(status_code::shape_mismatch, "y");
  y.stride = 4;
  expect(status_code::out_of_range, "y");
  x.data = nullptr;
  expect(status_code::null_pointer, "x");
  x.rows = 6;
  expect(status_code::shape_mismatch, "x");
  plan.inverse = nullptr;
  expect(status_code::null_pointer, "inverse");
  plan.sorted_token_ids = nullptr;
  expect(status_code::null_pointer, "sorted_token_ids");
  plan.num_rows = -1;
  expect(status_code::out_of_range, "num_rows");
  plan.assignments.slots_per_token = 0;
  expect(status_code::out_of_range, "assignments.slots_per_token");
}

// Rows of more blocks than a grid has, as their shapes alone tell.
struct endless_rows {
  static constexpr std::int64_t rows = 1 << 30;
  float value = 0.0f;
  std::int32_t id = 0;
  resonance::matrix_view<float> view{&value, rows, std::int64_t{1} << 20};
  resonance::matrix_view<const float> read{&value, rows, std::int64_t{1} << 20};
  resonance::permute::row_plan<std::int32_t> plan;

  endless_rows() {
    plan.assignments.tokens = rows;
    plan.assignments.slots_per_token = 1;
    plan.assignments.experts = 1;
    plan.sorted_token_ids = plan.inverse = &id;
    plan.num_rows = rows;
  }
};

}  // namespace permute_test

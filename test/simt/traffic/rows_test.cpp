// SPDX-License-Identifier: Apache-2.0
// Bytes that the row moves move.
#include <resonance/permute/device_permute.cuh>
#include <resonance/permute/device_unpermute.cuh>

#include <gtest/gtest.h>

#include <string>

#include "plan/fixture.hpp"
#include "resonance/plan/host_plan.hpp"
#include "table.hpp"

namespace {

using namespace resonance;

template <class Row>
void expect_few_bytes(const std::string& type) {
  support::random_source random(31);
  struct {
    support::batch_shape batch;
    std::int64_t width;
  } const shapes[] = {{{64, 8, 2}, 1024}, {{64, 128, 8}, 2048}, {{1, 128, 8}, 2048}, {{32, 256, 8}, 7168}};
  for (const auto& shape : shapes) {
    const support::batch_shape& s = shape.batch;
    const std::int64_t slots = s.tokens * s.top_k;
    const traffic::full_choices choices(random, s);
    plan_test::plan_arrays<std::int32_t> plan(choices.view(), {});
    support::exact_workspace space(plan::host_plan_workspace_bytes(serial_executor{}, choices.view(), {}));
    ASSERT_TRUE(support::accepted(plan::host_plan(serial_executor{}, choices.view(), {}, plan.view(), space.view())));
    const permute::row_plan<std::int32_t> rows{choices.view(), plan.sorted_token_ids.data(), plan.inverse.data(),
                                               slots};
    const auto x = traffic::normal_rows<Row>(random, s.tokens * shape.width);
    support::guarded_buffer<Row> permuted(static_cast<std::size_t>(slots * shape.width)), y(x.size());
    const matrix_view<Row> by_expert(permuted.data(), slots, shape.width);
    const auto row_bytes = static_cast<std::int64_t>(x.size_bytes() + permuted.size_bytes());
    const std::string text = traffic::shape_of(s, " H=" + std::to_string(shape.width));
    traffic::measure("permute " + type, text, row_bytes + 4 * slots, 1, {}, [&] {
      return permute::device_permute(device_stream{}, {x.data(), s.tokens, shape.width}, rows, by_expert);
    });
    traffic::measure("unpermute " + type, text, row_bytes + 8 * slots, 1, {}, [&] {
      return permute::device_unpermute(device_stream{}, by_expert, rows,
                                       matrix_view<Row>(y.data(), s.tokens, shape.width));
    });
  }
}

TEST(Traffic, RowsOfFloat32) { expect_few_bytes<float>("fp32"); }
TEST(Traffic, RowsOfBfloat16) { expect_few_bytes<bfloat16>("bf16"); }

}  // namespace

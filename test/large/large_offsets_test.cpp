// SPDX-License-Identifier: Apache-2.0
// Rows whose bases lie past 2^31 elements, in mappings of which only the rows themselves take memory; and counts that
// an index of 32 bits can't hold.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <resonance/resonance.hpp>

#include "properties/routed.hpp"
#include "support/random.hpp"
#include "support/sparse.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace permute = resonance::permute;

constexpr std::int64_t past_int32 = (std::int64_t{1} << 31) + 5;
constexpr std::size_t memory_limit = std::size_t{200} << 20;

//! Rows [rows, cols] of which the last begins past 2^31 elements.
template <class Value>
class far_rows {
 public:
  far_rows(std::int64_t rows, std::int64_t cols)
      : rows_(rows), cols_(cols), stride_(past_int32 / (rows - 1) + 1), cells_(size()) {}

  bool valid() const { return cells_.valid(); }
  resonance::matrix_view<Value> view() { return {cells_.data(), rows_, cols_, stride_}; }
  resonance::matrix_view<const Value> read() { return {cells_.data(), rows_, cols_, stride_}; }
  std::size_t resident_bytes() const { return cells_.resident_bytes(); }

  void fill(const std::vector<Value>& dense) {
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c) view().row(r)[c] = dense[static_cast<std::size_t>(r * cols_ + c)];
  }
  std::vector<Value> dense() {
    std::vector<Value> values;
    for (std::int64_t r = 0; r < rows_; ++r) values.insert(values.end(), view().row(r), view().row(r) + cols_);
    return values;
  }

 private:
  std::size_t size() const { return static_cast<std::size_t>((rows_ - 1) * stride_ + cols_); }

  std::int64_t rows_;
  std::int64_t cols_;
  std::int64_t stride_;
  support::sparse_mapping<Value> cells_;
};

#define NEEDS_ADDRESS_SPACE(...) \
  if (!(__VA_ARGS__)) GTEST_SKIP() << "this system maps no 8 GiB of address space"

using paper = resonance::route::options<affinity::grouped_average_cosine, resonance::token_choice::top_k,
                                        resonance::merge::restricted, resonance::prune::affinity_mass,
                                        affinity::softmax, resonance::prune::affinity_order>;
using of_logits =
    resonance::route::options<affinity::logits, resonance::token_choice::top_k, resonance::merge::union_,
                              resonance::prune::unlimited, affinity::softmax, resonance::prune::affinity_order>;

TEST(LargeOffsets, HiddenStatesAndGate) {
  support::random_source random(1);
  const std::int64_t tokens = 40;
  const std::int64_t hidden = 130;
  const std::vector<float> x = support::normal_values(random, static_cast<std::size_t>(tokens * hidden));
  far_rows<float> far(tokens, hidden);
  NEEDS_ADDRESS_SPACE(far.valid());
  far.fill(x);
  paper options;
  options.choice.top_k = 2;
  affinity::hidden_input<float> near_input;
  near_input.hidden = {x.data(), tokens, hidden};
  near_input.experts = 7;
  affinity::hidden_input<float> far_input = near_input;
  far_input.hidden = far.read();
  const properties::routed a = properties::route_all(support::serial(), near_input, options);
  const properties::routed b = properties::route_all(support::serial(), far_input, options);
  EXPECT_EQ(a.affinity, b.affinity);
  EXPECT_EQ(a.kept_ids, b.kept_ids);
  EXPECT_EQ(a.kept_weights, b.kept_weights);

  // The same rows as a gate: dot products of every token with every token.
  const auto products = [&](const resonance::matrix_view<const float>& rows, const resonance::matrix_view<float>& out) {
    affinity::hidden_input<float> input;
    input.hidden = input.gate = rows;
    const resonance::serial_executor serial;
    std::vector<char> workspace(affinity::host_affinity_workspace_bytes(serial, affinity::dot{}, input));
    EXPECT_TRUE(
        affinity::host_affinity(serial, affinity::dot{}, input, out, {workspace.data(), workspace.size()}).ok());
  };
  std::vector<float> near_products(static_cast<std::size_t>(tokens * tokens));
  far_rows<float> far_products(tokens, tokens);
  NEEDS_ADDRESS_SPACE(far_products.valid());
  products(near_input.hidden, {near_products.data(), tokens, tokens});
  products(far.read(), far_products.view());
  EXPECT_EQ(near_products, far_products.dense());
  EXPECT_LT(far.resident_bytes() + far_products.resident_bytes(), memory_limit);
}

TEST(LargeOffsets, LogitsAndScores) {
  support::random_source random(2);
  const std::int64_t tokens = 33;
  const std::int64_t experts = 12;
  const std::vector<float> logits = support::normal_values(random, static_cast<std::size_t>(tokens * experts));
  far_rows<float> far(tokens, experts);
  far_rows<float> far_scores(tokens, experts);
  NEEDS_ADDRESS_SPACE(far.valid() && far_scores.valid());
  far.fill(logits);
  of_logits options;
  options.choice.top_k = 3;
  options.expert_capacity = 4;
  affinity::logits_input<float> input;
  input.logits = {logits.data(), tokens, experts};
  const properties::routed a = properties::route_all(support::serial(), input, options);
  input.logits = far.read();
  const properties::routed b = properties::route_all(support::serial(), input, options);
  EXPECT_EQ(a.topk_ids, b.topk_ids);
  EXPECT_EQ(a.merged_ids, b.merged_ids);
  EXPECT_EQ(a.sorted_token_ids, b.sorted_token_ids);

  const resonance::serial_executor serial;
  std::vector<float> near_scores(logits.size());
  for (const affinity::softmax_axis axis : {affinity::softmax_axis::experts, affinity::softmax_axis::tokens}) {
    ASSERT_TRUE(affinity::host_scores(serial, affinity::softmax{}, {logits.data(), tokens, experts},
                                      {near_scores.data(), tokens, experts}, axis)
                    .ok());
    ASSERT_TRUE(affinity::host_scores(serial, affinity::softmax{}, far.read(), far_scores.view(), axis).ok());
    EXPECT_EQ(near_scores, far_scores.dense());
  }

  resonance::expert_choice::options choice;
  choice.capacity = 5;
  const auto choose = [&](const resonance::matrix_view<const float>& scores) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(5 * experts));
    resonance::expert_choice::outputs out;
    out.token_ids = ids.data();
    std::vector<char> workspace(resonance::expert_choice::host_expert_choice_workspace_bytes(serial, tokens));
    EXPECT_TRUE(
        resonance::expert_choice::host_expert_choice(serial, scores, choice, out, {workspace.data(), workspace.size()})
            .ok());
    return ids;
  };
  EXPECT_EQ(choose({logits.data(), tokens, experts}), choose(far.read()));
  EXPECT_LT(far.resident_bytes() + far_scores.resident_bytes(), memory_limit);
}

template <class Row>
class LargeRows : public ::testing::Test {};
using row_types = ::testing::Types<float, resonance::bfloat16, resonance::float16>;
TYPED_TEST_SUITE(LargeRows, row_types);

TYPED_TEST(LargeRows, PermuteAndUnpermute) {
  using Row = TypeParam;
  support::random_source random(3);
  const std::int64_t tokens = 20;
  const std::int64_t width = 70;
  const std::vector<float> logits = support::normal_values(random, 20 * 6);
  of_logits options;
  options.choice.top_k = 2;
  options.expert_capacity = 5;
  options.plan.tile_tokens = 4;
  affinity::logits_input<float> input;
  input.logits = {logits.data(), tokens, 6};
  const properties::routed r = properties::route_all(support::serial(), input, options);
  const std::int64_t rows = r.num_rows[0];

  std::vector<Row> x;
  for (const float value : support::normal_values(random, static_cast<std::size_t>(tokens * width)))
    x.push_back(resonance::row_traits<Row>::narrow(value));
  far_rows<Row> far_x(tokens, width);
  far_rows<Row> far_permuted(rows, width);
  far_rows<Row> far_y(tokens, width);
  NEEDS_ADDRESS_SPACE(far_x.valid() && far_permuted.valid() && far_y.valid());
  far_x.fill(x);
  std::vector<Row> permuted(static_cast<std::size_t>(rows * width));
  std::vector<Row> y(x.size());
  const resonance::serial_executor serial;
  using near_view = resonance::matrix_view<Row>;
  using near_read = resonance::matrix_view<const Row>;
  ASSERT_TRUE(permute::host_permute(serial, near_read(x.data(), tokens, width), r.rows(),
                                    near_view(permuted.data(), rows, width))
                  .ok());
  ASSERT_TRUE(permute::host_unpermute(serial, near_read(permuted.data(), rows, width), r.rows(),
                                      near_view(y.data(), tokens, width))
                  .ok());
  ASSERT_TRUE(permute::host_permute(serial, far_x.read(), r.rows(), far_permuted.view()).ok());
  ASSERT_TRUE(permute::host_unpermute(serial, far_permuted.read(), r.rows(), far_y.view()).ok());
  const std::vector<Row> got_rows = far_permuted.dense();
  const std::vector<Row> got_y = far_y.dense();
  EXPECT_EQ(std::memcmp(got_rows.data(), permuted.data(), permuted.size() * sizeof(Row)), 0);
  EXPECT_EQ(std::memcmp(got_y.data(), y.data(), y.size() * sizeof(Row)), 0);
  EXPECT_LT(far_x.resident_bytes() + far_permuted.resident_bytes() + far_y.resident_bytes(), memory_limit);
}

//! 2^28 tokens of 8 slots each: one slot more than int32 can number. Nothing is read before the refusal.
resonance::assignment_view too_many_slots(const std::int32_t* ids) {
  resonance::assignment_view view;
  view.tokens = std::int64_t{1} << 28;
  view.experts = 8;
  view.slots_per_token = 8;
  view.ids = ids;
  return view;
}

template <class Index>
struct plan_arrays {
  Index offsets[9] = {-7, -7, -7, -7, -7, -7, -7, -7, -7};
  Index row = -7;
  std::int64_t num_rows[2] = {-7, -7};

  resonance::plan::outputs<Index> outputs() {
    resonance::plan::outputs<Index> out;
    out.tokens_per_expert = nullptr;
    out.expert_offsets = offsets;
    out.sorted_token_ids = &row;
    out.inverse = &row;
    out.num_rows = num_rows;
    return out;
  }
  bool untouched() const {
    bool all = row == -7 && num_rows[0] == -7 && num_rows[1] == -7;
    for (const Index offset : offsets) all = all && offset == -7;
    return all;
  }
};

TEST(LargeCounts, PlanRefusesWhatInt32CannotNumber) {
  const std::int32_t id = 0;
  const resonance::assignment_view view = too_many_slots(&id);
  const resonance::serial_executor serial;
  const std::size_t bytes = resonance::plan::host_plan_workspace_bytes(serial, view, {});
  ASSERT_GT(bytes, 0U) << "the query is for any index type";
  std::vector<char> workspace(bytes);
  plan_arrays<std::int32_t> narrow;
  const resonance::status refused =
      resonance::plan::host_plan(serial, view, {}, narrow.outputs(), {workspace.data(), bytes});
  EXPECT_EQ(refused.code, resonance::status_code::index_overflow);
  EXPECT_STREQ(refused.argument, "inverse");
  EXPECT_TRUE(narrow.untouched());

  // int64 gets past that check, to the next one.
  plan_arrays<std::int64_t> wide;
  const resonance::status too_small = resonance::plan::host_plan(serial, view, {}, wide.outputs(), {});
  EXPECT_EQ(too_small.code, resonance::status_code::workspace_too_small);
  EXPECT_TRUE(wide.untouched());
}

TEST(LargeCounts, PaddingAloneCanOverflowInt32) {
  const std::int32_t ids[4] = {0, 1, 2, 3};
  resonance::assignment_view view = too_many_slots(ids);
  view.tokens = 4;
  view.slots_per_token = 1;
  const resonance::serial_executor serial;
  resonance::plan::options options;
  options.pad_to_capacity = std::int64_t{1} << 28;
  std::vector<char> workspace(resonance::plan::host_plan_workspace_bytes(serial, view, options));
  plan_arrays<std::int32_t> narrow;
  const resonance::status refused =
      resonance::plan::host_plan(serial, view, options, narrow.outputs(), {workspace.data(), workspace.size()});
  EXPECT_EQ(refused.code, resonance::status_code::index_overflow);
  EXPECT_STREQ(refused.argument, "sorted_token_ids");
  EXPECT_TRUE(narrow.untouched());
}

TEST(LargeCounts, RouteRefusesTooAndInt64Passes) {
  using dropless =
      resonance::route::options<affinity::logits, resonance::token_choice::top_k, resonance::merge::restricted,
                                resonance::prune::unlimited, affinity::softmax, resonance::prune::affinity_order>;
  const float logit = 0.0F;  // never read: both calls are refused
  affinity::logits_input<float> input;
  input.logits = {&logit, std::int64_t{1} << 28, 8};
  dropless options;
  options.choice.top_k = 8;
  const resonance::serial_executor serial;
  EXPECT_GT(resonance::route::host_route_workspace_bytes(serial, input, options), std::size_t{1} << 31);

  plan_arrays<std::int32_t> narrow;
  resonance::route::outputs<std::int32_t> narrow_out;
  narrow_out.plan = narrow.outputs();
  EXPECT_EQ(resonance::route::host_route(serial, input, options, narrow_out, {}).code,
            resonance::status_code::index_overflow);
  EXPECT_TRUE(narrow.untouched());

  plan_arrays<std::int64_t> wide;
  resonance::route::outputs<std::int64_t> wide_out;
  wide_out.plan = wide.outputs();
  EXPECT_EQ(resonance::route::host_route(serial, input, options, wide_out, {}).code,
            resonance::status_code::workspace_too_small);
  EXPECT_TRUE(wide.untouched());
}

}  // namespace

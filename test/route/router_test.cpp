// SPDX-License-Identifier: Apache-2.0
// The router as a user meets it: two functions on a backend, and refusals that write nothing.
#include "resonance/route/router.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "route/fixture.hpp"

namespace {

using namespace resonance;
using route_test::batch_input;
using route_test::route_arrays;

using grap_router =
    router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::affinity_mass>;
using union_router =
    router<affinity::logits, token_choice::top_k, merge::union_, prune::lower_bound, affinity::sigmoid>;

TEST(Router, RoutesAsHostRouteDoes) {
  support::random_source random(131);
  const route_test::route_shape s{{33, 6, 2}, 37};
  const batch_input<float> batch(random, s);
  const auto input = batch.of<affinity::grouped_average_cosine>();
  grap_router::options o;
  o.choice.top_k = 2;
  o.capacity.rho = 0.76;
  const serial_executor executor;
  const std::size_t bytes = grap_router::workspace_bytes(on_host(executor), input, o);
  EXPECT_EQ(bytes, route::host_route_workspace_bytes(executor, input, o));
  support::exact_workspace workspace(bytes);
  route_arrays<std::int32_t> out(s.batch, route::host_route_slots(input, o), o.plan);
  ASSERT_TRUE(support::accepted(grap_router::run(on_host(executor), input, o, out.view(), workspace.view())));
  route_test::expect_same(out, route_test::route_all<std::int32_t>(executor, input, o, s.batch));
}

TEST(Router, DefaultsToSoftmaxAndAffinityOrder) {
  using spelled_out = router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted,
                             prune::affinity_mass, affinity::softmax, prune::affinity_order>;
  EXPECT_TRUE((std::is_same_v<grap_router, spelled_out>));
}

// Each case spoils one argument of a route that is otherwise accepted.
template <class Router, class Metric>
class refusals {
 public:
  using outputs = route::outputs<std::int32_t>;
  using input_type = decltype(std::declval<const batch_input<float>&>().template of<Metric>());

  refusals() : random_(132), batch_(random_, {{33, 6, 2}, 37}), good_(batch_.template of<Metric>()) {
    options_.choice.top_k = 2;
    options_.prune.hidden = 37;
  }

  template <class Spoil>
  void expect(status_code code, const std::string& argument, const Spoil& spoil) {
    route_arrays<std::int32_t> out({33, 6, 2}, route::host_route_slots(good_, options_), options_.plan);
    input_type input = good_;
    typename Router::options o = options_;
    outputs given = out.view();
    spoil(input, o, given);
    support::exact_workspace workspace(1 << 16);
    const serial_executor executor;
    EXPECT_TRUE(support::refused(Router::run(on_host(executor), input, o, given, workspace.view()), code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  //! As above; the query answers 0 too, since it sees the input and the options.
  template <class Spoil>
  void expect_unroutable(status_code code, const std::string& argument, const Spoil& spoil) {
    expect(code, argument, [&](input_type& input, typename Router::options& o, outputs&) { spoil(input, o); });
    input_type input = good_;
    typename Router::options o = options_;
    spoil(input, o);
    const serial_executor executor;
    EXPECT_EQ(Router::workspace_bytes(on_host(executor), input, o), 0U) << argument;
    EXPECT_EQ(route::host_route_slots(input, o), 0) << argument;
  }

 private:
  support::random_source random_;
  batch_input<float> batch_;
  input_type good_;
  typename Router::options options_;
};

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(RouterRefuses, BadHiddenStates) {
  refusals<grap_router, affinity::grouped_average_cosine> r;
  r.expect_unroutable(status_code::null_pointer, "hidden", [](auto& in, auto&) { in.hidden.data = nullptr; });
  r.expect_unroutable(status_code::out_of_range, "hidden", [](auto& in, auto&) { in.hidden.rows = -1; });
  r.expect_unroutable(status_code::out_of_range, "hidden", [](auto& in, auto&) { in.hidden.stride = 36; });
  r.expect_unroutable(status_code::out_of_range, "experts", [](auto& in, auto&) { in.experts = 0; });
  r.expect_unroutable(status_code::out_of_range, "experts", [](auto& in, auto&) { in.experts = 38; });
}

TEST(RouterRefuses, BadLogits) {
  refusals<union_router, affinity::logits> r;
  r.expect_unroutable(status_code::null_pointer, "logits", [](auto& in, auto&) { in.logits.data = nullptr; });
  r.expect_unroutable(status_code::out_of_range, "logits", [](auto& in, auto&) { in.logits.cols = 0; });
}

TEST(RouterRefuses, BadOptions) {
  refusals<grap_router, affinity::grouped_average_cosine> r;
  const status_code range = status_code::out_of_range;
  const auto nanf = static_cast<float>(nan);
  for (std::int32_t k : {0, -1, 7}) r.expect_unroutable(range, "top_k", [&](auto&, auto& o) { o.choice.top_k = k; });
  for (float scale : {nanf, HUGE_VALF})
    r.expect_unroutable(range, "routed_scaling_factor",
                        [&](auto&, auto& o) { o.choice.routed_scaling_factor = scale; });
  for (float temperature : {0.0F, -1.0F, nanf, HUGE_VALF})
    r.expect_unroutable(range, "temperature", [&](auto&, auto& o) { o.score.temperature = temperature; });
  for (float cap : {-1.0F, nanf})
    r.expect_unroutable(range, "logit_cap", [&](auto&, auto& o) { o.score.logit_cap = cap; });
  for (double rho : {0.0, -0.1, 1.1, nan})
    r.expect_unroutable(range, "rho", [&](auto&, auto& o) { o.capacity.rho = rho; });
  r.expect_unroutable(range, "expert_capacity", [](auto&, auto& o) { o.expert_capacity = -2; });
  r.expect_unroutable(range, "capacity_cap", [](auto&, auto& o) { o.prune.capacity_cap = -2; });
  r.expect_unroutable(range, "top_k", [](auto&, auto& o) { o.prune.top_k = -2; });
  r.expect_unroutable(range, "hidden", [](auto&, auto& o) { o.prune.hidden = -1; });
}

TEST(RouterRefuses, ALowerBoundWithoutTheHiddenSize) {
  refusals<union_router, affinity::logits> r;
  r.expect_unroutable(status_code::out_of_range, "hidden", [](auto&, auto& o) { o.prune.hidden = 0; });
  r.expect_unroutable(status_code::out_of_range, "capacity_factor",
                      [](auto&, auto& o) { o.capacity.capacity_factor = nan; });
}

TEST(RouterRefuses, BadPlans) {
  refusals<grap_router, affinity::grouped_average_cosine> r;
  const status_code range = status_code::out_of_range;
  const std::vector<std::int32_t> map(6, 0);
  r.expect(range, "tile_tokens", [](auto&, auto& o, auto&) { o.plan.tile_tokens = 0; });
  r.expect(range, "pad_to_capacity", [](auto&, auto& o, auto&) { o.plan.pad_to_capacity = -2; });
  r.expect(range, "num_local", [&](auto&, auto& o, auto&) { o.plan.expert_map = map.data(); });
  r.expect(status_code::index_overflow, "sorted_token_ids",
           [](auto&, auto& o, auto&) { o.plan.pad_to_capacity = 1 << 30; });
  r.expect(status_code::null_pointer, "inverse", [](auto&, auto&, auto& out) { out.plan.inverse = nullptr; });
  r.expect(status_code::null_pointer, "num_rows", [](auto&, auto&, auto& out) { out.plan.num_rows = nullptr; });
  r.expect(status_code::null_pointer, "sorted_token_ids",
           [](auto&, auto&, auto& out) { out.plan.sorted_token_ids = nullptr; });
}

TEST(RouterRefuses, BadOutputs) {
  refusals<grap_router, affinity::grouped_average_cosine> r;
  r.expect(status_code::shape_mismatch, "affinity", [](auto&, auto&, auto& out) { out.affinity.rows = 32; });
  r.expect(status_code::shape_mismatch, "affinity", [](auto&, auto&, auto& out) { out.affinity.cols = 5; });
  r.expect(status_code::out_of_range, "affinity", [](auto&, auto&, auto& out) { out.affinity.stride = 5; });
}

TEST(RouterRefuses, ARaggedMergeInPart) {
  refusals<union_router, affinity::logits> r;
  const status_code null = status_code::null_pointer;
  r.expect(null, "merged.ids", [](auto&, auto&, auto& out) { out.merged.ids = nullptr; });
  r.expect(null, "merged.affinity", [](auto&, auto&, auto& out) { out.merged.affinity = nullptr; });
  r.expect(null, "merged.weights", [](auto&, auto&, auto& out) { out.merged.weights = nullptr; });
  r.expect(null, "merged.rank_in_expert", [](auto&, auto&, auto& out) { out.merged.rank_in_expert = nullptr; });
  r.expect(null, "merged.token_offsets", [](auto&, auto&, auto& out) { out.merged.token_offsets = nullptr; });
  r.expect(null, "merged.token_of_slot", [](auto&, auto&, auto& out) { out.merged.token_of_slot = nullptr; });
  r.expect(status_code::index_overflow, "merged.capacity", [](auto&, auto&, auto& out) { --out.merged.capacity; });
}

// Only shapes are read before the refusal, so the arrays may be smaller than the shapes say.
TEST(RouterRefuses, SlotsThatTheIndexCannotHold) {
  using expert_router = router<affinity::logits, token_choice::top_k, merge::expert_only, prune::unlimited>;
  const float logit = 0;
  const affinity::logits_input<float> input{matrix_view<const float>(&logit, 1 << 20, 4096), nullptr, nullptr};
  expert_router::options o;
  o.plan.pad_to_capacity = 1;
  route_arrays<std::int32_t> out({1, 4096, 1}, 4096, o.plan);
  route::outputs<std::int32_t> given;
  given.plan = out.plan.view();
  const serial_executor executor;
  EXPECT_TRUE(support::refused(expert_router::run(on_host(executor), input, o, given, workspace_view{}),
                               status_code::index_overflow, "inverse"));
  EXPECT_TRUE(out.untouched());
}

}  // namespace

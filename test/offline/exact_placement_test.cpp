// SPDX-License-Identifier: Apache-2.0
#include <resonance/offline/exact_placement.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "offline/trace_fixture.hpp"

namespace {

using namespace resonance;
using trace_test::placement;
using trace_test::recorded;

placement place(const recorded& trace, std::int32_t devices, offline::crossing_count* crossings) {
  support::guarded_buffer<std::int32_t> out(static_cast<std::size_t>(trace.layers * trace.experts));
  support::exact_workspace space(offline::place_experts_exactly_workspace_bytes(trace.view(), devices));
  EXPECT_TRUE(
      support::accepted(offline::place_experts_exactly(trace.view(), devices, out.data(), crossings, space.view())));
  EXPECT_TRUE(out.intact() && space.intact());
  return support::values_of(out);
}

TEST(ExactPlacement, HasTheFewestCrossingsOfAllPlacements) {
  support::random_source random(1);
  struct shape {
    std::int32_t layers, experts, devices;
  };
  for (const shape& s :
       {shape{3, 4, 2}, shape{2, 6, 2}, shape{2, 6, 3}, shape{4, 3, 3}, shape{1, 4, 2}, shape{4, 2, 1}})
    for (int turn = 0; turn < (s.layers == 3 ? 60 : 2); ++turn) {
      SCOPED_TRACE(::testing::Message() << "L=" << s.layers << " E=" << s.experts << " P=" << s.devices);
      const recorded trace = trace_test::follow(random, s.layers, s.experts, 200, 0.2 * (turn % 4));
      offline::crossing_count crossings;
      const placement p = place(trace, s.devices, &crossings);
      EXPECT_TRUE(trace_test::balanced(trace, p, s.devices));
      EXPECT_EQ(trace_test::crossings(trace, p), crossings.crossing);
      EXPECT_EQ(crossings.crossing, trace_test::fewest_crossings(trace, s.devices));
    }
}

// Tokens that stay in their chain of experts never have to move.
TEST(ExactPlacement, OfIdentityTransitionsNothingCrosses) {
  support::random_source random(2);
  for (std::int32_t devices : {2, 4}) {
    const recorded trace = trace_test::follow(random, 6, 8, 500, 1.0);
    offline::crossing_count crossings;
    place(trace, devices, &crossings);
    EXPECT_EQ(crossings.crossing, 0);
    EXPECT_EQ(crossings.total, 5 * 500);
  }
}

TEST(ExactPlacement, TakesAsManyExpertsAsThereIsRoomFor) {
  EXPECT_EQ(detail::arrangement_count(4, 2), 6);
  EXPECT_EQ(detail::arrangement_count(10, 2), 252);
  EXPECT_EQ(detail::arrangement_count(8, 4), 2520);
  EXPECT_EQ(detail::arrangement_count(14, 2), 3432);
  EXPECT_EQ(detail::arrangement_count(64, 1), 1);
  EXPECT_GT(detail::arrangement_count(16, 2), detail::most_arrangements);
  EXPECT_GT(detail::arrangement_count(32768, 16384), detail::most_arrangements);
}

TEST(ExactPlacement, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(3);
  const recorded trace = trace_test::follow(random, 3, 4, 50, 0.5);
  support::guarded_buffer<std::int32_t> out(12);
  support::exact_workspace space(offline::place_experts_exactly_workspace_bytes(trace.view(), 2));
  const auto expect = [&](status_code code, const std::string& argument, const offline::transition_trace& t,
                          std::int32_t devices, std::int32_t* to, workspace_view workspace) {
    EXPECT_TRUE(support::refused(offline::place_experts_exactly(t, devices, to, nullptr, workspace), code, argument));
    EXPECT_TRUE(out.untouched() && space.untouched());
  };
  const std::int64_t* counts = trace.counts.data();
  expect(status_code::out_of_range, "layers", {counts, 0, 4}, 2, out.data(), space.view());
  expect(status_code::out_of_range, "experts", {counts, 3, 0}, 2, out.data(), space.view());
  expect(status_code::null_pointer, "counts", {nullptr, 3, 4}, 2, out.data(), space.view());
  const std::vector<std::int64_t> negative(32, -1), huge(32, std::int64_t{1} << 45);
  expect(status_code::out_of_range, "counts", {negative.data(), 3, 4}, 2, out.data(), space.view());
  expect(status_code::index_overflow, "counts", {huge.data(), 3, 4}, 2, out.data(), space.view());
  for (std::int32_t devices : {0, -1, 3, 5})
    expect(status_code::out_of_range, "devices", trace.view(), devices, out.data(), space.view());
  const std::vector<std::int64_t> wide(256, 0);
  expect(status_code::out_of_range, "experts", {wide.data(), 2, 16}, 2, out.data(), space.view());
  EXPECT_EQ(offline::place_experts_exactly_workspace_bytes({wide.data(), 2, 16}, 2), 0u);
  expect(status_code::null_pointer, "placement", trace.view(), 2, nullptr, space.view());
  workspace_view small = space.view();
  --small.bytes;
  expect(status_code::workspace_too_small, "workspace", trace.view(), 2, out.data(), small);
}

}  // namespace

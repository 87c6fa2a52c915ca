// SPDX-License-Identifier: Apache-2.0
#include <resonance/offline/staged_placement.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "offline/trace_fixture.hpp"

namespace {

using namespace resonance;
using offline::crossing_count;
using offline::staged_placement_options;
using trace_test::placement;
using trace_test::recorded;

struct found {
  placement devices, nodes;
  crossing_count between_nodes, between_devices;
};

found place(const recorded& trace, const staged_placement_options& o) {
  support::guarded_buffer<std::int32_t> out(static_cast<std::size_t>(trace.layers * trace.experts));
  support::exact_workspace space(offline::place_experts_in_stages_workspace_bytes(trace.view(), o));
  found f;
  EXPECT_TRUE(support::accepted(offline::place_experts_in_stages(trace.view(), o, out.data(), &f.between_nodes,
                                                                 &f.between_devices, space.view())));
  EXPECT_TRUE(out.intact() && space.intact());
  f.devices = support::values_of(out);
  for (std::int32_t device : f.devices) f.nodes.push_back(device / o.devices_per_node);
  EXPECT_TRUE(trace_test::balanced(trace, f.devices, o.nodes * o.devices_per_node));
  EXPECT_EQ(trace_test::crossings(trace, f.devices), f.between_devices.crossing);
  EXPECT_EQ(trace_test::crossings(trace, f.nodes), f.between_nodes.crossing);
  return f;
}

TEST(StagedPlacement, KeepsTheNodesOfTheFirstStage) {
  support::random_source random(1);
  for (double chance : {0.0, 0.4, 0.8}) {
    const recorded trace = trace_test::follow(random, 6, 16, 2000, chance);
    const found f = place(trace, {2, 4, 8, 100});
    offline::placement_options o;
    o.devices = 2;
    o.starts = 8;
    placement nodes(f.nodes.size());
    crossing_count before, after;
    support::exact_workspace space(offline::place_experts_workspace_bytes(trace.view(), o));
    ASSERT_TRUE(
        support::accepted(offline::place_experts(trace.view(), o, nodes.data(), &before, &after, space.view())));
    EXPECT_EQ(f.nodes, nodes);
    EXPECT_EQ(f.between_nodes.crossing, after.crossing);
    EXPECT_LE(f.between_nodes.crossing, before.crossing);
    EXPECT_GE(f.between_devices.crossing, f.between_nodes.crossing);
  }
}

// Within its node, no device's experts of a layer can be exchanged with another's for fewer crossings.
TEST(StagedPlacement, IsALocalOptimumWithinEachNode) {
  support::random_source random(2);
  for (int turn = 0; turn < 10; ++turn) {
    const recorded trace = trace_test::follow(random, 4, 12, 800, 0.1 * turn);
    const found f = place(trace, {2, 3, 1, 100});
    for (std::size_t i = 0; i < f.devices.size(); ++i)
      for (std::size_t j = i / 12 * 12; j < i; ++j) {
        if (f.nodes[i] != f.nodes[j]) continue;
        placement other = f.devices;
        std::swap(other[i], other[j]);
        EXPECT_GE(trace_test::crossings(trace, other), f.between_devices.crossing);
      }
  }
}

TEST(StagedPlacement, OfIdentityTransitionsNothingCrosses) {
  support::random_source random(3);
  const recorded trace = trace_test::follow(random, 8, 16, 2000, 1.0);
  const found f = place(trace, {2, 4, 32, 100});
  EXPECT_EQ(f.between_nodes.crossing, 0);
  EXPECT_EQ(f.between_devices.crossing, 0);
  EXPECT_EQ(f.between_devices.total, 7 * 2000);
}

TEST(StagedPlacement, OfOneNodeOrOneDeviceIsThePlainPlacement) {
  support::random_source random(4);
  const recorded trace = trace_test::follow(random, 5, 8, 500, 0.5);
  EXPECT_EQ(place(trace, {1, 4, 8, 100}).devices, place(trace, {4, 1, 8, 100}).devices);
  EXPECT_EQ(place(trace, {1, 1, 1, 100}).between_devices.crossing, 0);
}

TEST(StagedPlacement, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(5);
  const recorded trace = trace_test::follow(random, 3, 8, 50, 0.5);
  support::guarded_buffer<std::int32_t> out(24);
  support::exact_workspace space(offline::place_experts_in_stages_workspace_bytes(trace.view(), {2, 2, 4, 10}));
  const auto expect = [&](status_code code, const std::string& argument, const offline::transition_trace& t,
                          const staged_placement_options& o, std::int32_t* to, workspace_view workspace) {
    EXPECT_TRUE(
        support::refused(offline::place_experts_in_stages(t, o, to, nullptr, nullptr, workspace), code, argument));
    EXPECT_TRUE(out.untouched() && space.untouched());
  };
  expect(status_code::out_of_range, "layers", {trace.counts.data(), 0, 8}, {}, out.data(), space.view());
  for (std::int32_t nodes : {0, 3, 16})
    expect(status_code::out_of_range, "nodes", trace.view(), {nodes, 1, 4, 10}, out.data(), space.view());
  for (std::int32_t devices : {0, 3, 8})
    expect(status_code::out_of_range, "devices_per_node", trace.view(), {2, devices, 4, 10}, out.data(), space.view());
  expect(status_code::out_of_range, "starts", trace.view(), {2, 2, 0, 10}, out.data(), space.view());
  expect(status_code::out_of_range, "most_sweeps", trace.view(), {2, 2, 4, -1}, out.data(), space.view());
  expect(status_code::null_pointer, "placement", trace.view(), {2, 2, 4, 10}, nullptr, space.view());
  workspace_view small = space.view();
  --small.bytes;
  expect(status_code::workspace_too_small, "workspace", trace.view(), {2, 2, 4, 10}, out.data(), small);
}

}  // namespace

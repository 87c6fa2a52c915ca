// SPDX-License-Identifier: Apache-2.0
#include <resonance/offline/placement.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <resonance/offline/exact_placement.hpp>

#include "offline/trace_fixture.hpp"

namespace {

using namespace resonance;
using offline::crossing_count;
using offline::placement_options;
using trace_test::placement;
using trace_test::recorded;

struct found {
  placement p;
  crossing_count before, after;
};

found place(const recorded& trace, const placement_options& o) {
  support::guarded_buffer<std::int32_t> out(static_cast<std::size_t>(trace.layers * trace.experts));
  support::exact_workspace space(offline::place_experts_workspace_bytes(trace.view(), o));
  found f;
  EXPECT_TRUE(
      support::accepted(offline::place_experts(trace.view(), o, out.data(), &f.before, &f.after, space.view())));
  EXPECT_TRUE(out.intact() && space.intact());
  f.p = support::values_of(out);
  EXPECT_TRUE(trace_test::balanced(trace, f.p, o.devices));
  EXPECT_EQ(trace_test::crossings(trace, f.p), f.after.crossing);
  return f;
}

placement_options on(std::int32_t devices, std::int32_t starts = 8) {
  placement_options o;
  o.devices = devices;
  o.starts = starts;
  return o;
}

TEST(TransitionTrace, RowsOfTheAffinityAddUpToOneOrZero) {
  support::random_source random(1);
  recorded trace = trace_test::follow(random, 2, 9, 400, 0.5);
  for (std::size_t b = 0; b < 9; ++b) trace.at(0, 4, b) = 0;
  support::guarded_buffer<double> affinity(81);
  ASSERT_TRUE(support::accepted(offline::conditional_affinity(trace.counts.data(), 9, affinity.data())));
  EXPECT_TRUE(affinity.intact());
  for (std::size_t a = 0; a < 9; ++a) {
    double sum = 0, from = 0;
    for (std::size_t b = 0; b < 9; ++b) from += static_cast<double>(trace.at(0, a, b));
    for (std::size_t b = 0; b < 9; ++b) {
      sum += affinity[a * 9 + b];
      EXPECT_NEAR(affinity[a * 9 + b] * from, static_cast<double>(trace.at(0, a, b)), 1e-9);
    }
    EXPECT_NEAR(sum, a == 4 ? 0.0 : 1.0, 1e-12);
  }
}

// Independent uniform routing crosses 1 - 1/P of the time, whatever the balanced placement.
TEST(TransitionTrace, UniformRoutingCrossesByTheShareOfOtherDevices) {
  support::random_source random(2);
  const recorded uniform = trace_test::follow(random, 5, 16, 40000, 0.0);
  recorded exact(5, 16);
  for (std::int64_t& count : exact.counts) count = 3;
  for (std::int32_t devices : {1, 2, 4, 8, 16})
    for (int turn = 0; turn < 3; ++turn) {
      const placement p = trace_test::random_placement(random, uniform, devices);
      crossing_count crossings;
      ASSERT_TRUE(support::accepted(offline::count_crossings(exact.view(), p.data(), devices, &crossings)));
      EXPECT_EQ(crossings.share(), 1 - 1.0 / devices);
      ASSERT_TRUE(support::accepted(offline::count_crossings(uniform.view(), p.data(), devices, &crossings)));
      EXPECT_EQ(crossings.total, 4 * 40000);
      EXPECT_EQ(crossings.crossing, trace_test::crossings(uniform, p));
      EXPECT_NEAR(crossings.share(), 1 - 1.0 / devices, 5 * std::sqrt(0.25 / crossings.total));
    }
}

// Of Mixtral's 31 hops.
TEST(TransitionTrace, UniformRoutingCrossesMostHops) {
  support::random_source random(3);
  recorded exact(32, 8);
  for (std::int64_t& count : exact.counts) count = 1;
  const auto hops = [&](std::int32_t devices) {
    crossing_count crossings;
    EXPECT_TRUE(support::accepted(offline::count_crossings(
        exact.view(), trace_test::random_placement(random, exact, devices).data(), devices, &crossings)));
    return 31 * crossings.share();
  };
  EXPECT_EQ(hops(4), 23.25);
  EXPECT_EQ(hops(8), 27.125);
}

TEST(Placement, OfIdentityTransitionsNothingCrosses) {
  recorded trace(12, 32);
  for (std::size_t l = 0; l < 11; ++l)
    for (std::size_t e = 0; e < 32; ++e) trace.at(l, e, e) = 10 + static_cast<std::int64_t>(e);
  EXPECT_EQ(place(trace, on(4, 1)).after.crossing, 0);
  support::random_source random(3);  // each layer's experts under other names
  const found hidden = place(trace_test::follow(random, 12, 32, 3000, 1.0), on(8));
  EXPECT_EQ(hidden.after.crossing, 0);
  EXPECT_EQ(hidden.after.total, 11 * 3000);
  EXPECT_GT(hidden.before.share(), 0.8);
}

TEST(Placement, IsNeverWorseThanWhereItStarts) {
  support::random_source random(4);
  for (int turn = 0; turn < 30; ++turn) {
    const recorded trace = trace_test::follow(random, 6, 16, 1000, 0.03 * turn);
    const placement start = trace_test::random_placement(random, trace, 4);
    placement_options o = on(4, 1 + turn % 4);
    o.initial = start.data();
    o.most_sweeps = turn % 5 == 0 ? 0 : 100;
    const found f = place(trace, o);
    EXPECT_EQ(f.before.crossing, trace_test::crossings(trace, start));
    EXPECT_LE(f.after.crossing, f.before.crossing);
    if (turn % 5 == 0 && o.starts == 1) {
      EXPECT_EQ(f.p, start);
    }
    // What was found is where no layer alone can gain: searching from there finds nothing.
    o.initial = f.p.data();
    o.starts = 1;
    if (o.most_sweeps > 0) {
      EXPECT_EQ(place(trace, o).p, f.p);
    }
  }
}

// Where the search ends, no other arrangement of any one layer has fewer crossings.
TEST(Placement, StepsAreExactForALayerGivenItsNeighbours) {
  support::random_source random(5);
  for (int turn = 0; turn < 40; ++turn) {
    const recorded trace = trace_test::follow(random, 4, 6, 100, 0.1 * (turn % 5));
    const found f = place(trace, on(3, 1));
    for (std::ptrdiff_t l = 0; l < 4; ++l) {
      placement other = f.p;
      std::vector<std::int32_t> layer = {0, 0, 1, 1, 2, 2};
      do {
        std::copy(layer.begin(), layer.end(), other.begin() + 6 * l);
        ASSERT_GE(trace_test::crossings(trace, other), f.after.crossing) << "layer " << l;
      } while (std::next_permutation(layer.begin(), layer.end()));
    }
  }
}

// The search is local. As it comes, it finds the optimum of each of these small traces,
TEST(Placement, FindsTheOptimumOfSmallTraces) {
  support::random_source random(6);
  for (int turn = 0; turn < 100; ++turn) {
    const recorded trace = trace_test::follow(random, 3, 4, 100, 0.1 * (turn % 10));
    placement_options o;
    o.devices = 2;
    EXPECT_EQ(place(trace, o).after.crossing, trace_test::fewest_crossings(trace, 2));
  }
}

// and of about half of these longer ones, within a tenth of it where not.
TEST(Placement, ComesCloseToTheOptimumOfLongerTraces) {
  support::random_source random(9);
  int optimal = 0;
  for (int turn = 0; turn < 60; ++turn) {
    const recorded trace = trace_test::follow(random, 6, 8, 300, 0.1 * (turn % 10));
    placement best(48);
    crossing_count fewest;
    support::exact_workspace space(offline::place_experts_exactly_workspace_bytes(trace.view(), 2));
    ASSERT_TRUE(support::accepted(offline::place_experts_exactly(trace.view(), 2, best.data(), &fewest, space.view())));
    const std::int64_t reached = place(trace, on(2, placement_options{}.starts)).after.crossing;
    EXPECT_GE(reached, fewest.crossing);
    EXPECT_LE(10 * reached, 11 * fewest.crossing);
    optimal += reached == fewest.crossing ? 1 : 0;
  }
  EXPECT_GE(optimal, 30);
  EXPECT_LT(optimal, 60);  // else these traces tell nothing of the search
}

TEST(Placement, MayWriteOverTheInitialPlacementAndRepeatsItself) {
  support::random_source random(7);
  const recorded trace = trace_test::follow(random, 5, 24, 2000, 0.6);
  placement both = trace_test::random_placement(random, trace, 6);
  const placement start = both;
  placement_options o = on(6);
  o.initial = start.data();
  const found apart = place(trace, o);
  o.initial = both.data();
  support::exact_workspace space(offline::place_experts_workspace_bytes(trace.view(), o));
  ASSERT_TRUE(support::accepted(offline::place_experts(trace.view(), o, both.data(), nullptr, nullptr, space.view())));
  EXPECT_EQ(both, apart.p);
  EXPECT_LT(apart.after.share(), 0.6 * apart.before.share());
}

TEST(Placement, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(8);
  const recorded trace = trace_test::follow(random, 3, 4, 50, 0.5);
  support::guarded_buffer<std::int32_t> out(12);
  support::exact_workspace space(offline::place_experts_workspace_bytes(trace.view(), on(2)));
  crossing_count before{-1, -1}, after{-1, -1};
  const auto expect = [&](status_code code, const std::string& argument, const offline::transition_trace& t,
                          const placement_options& o, std::int32_t* to, workspace_view workspace) {
    EXPECT_TRUE(support::refused(offline::place_experts(t, o, to, &before, &after, workspace), code, argument));
    EXPECT_TRUE(out.untouched() && space.untouched());
    EXPECT_EQ(before.total + after.total, -2);
  };
  expect(status_code::out_of_range, "layers", {trace.counts.data(), -1, 4}, on(2), out.data(), space.view());
  expect(status_code::out_of_range, "experts", {trace.counts.data(), 3, 40000}, on(2), out.data(), space.view());
  for (std::int32_t devices : {0, 3, 8})
    expect(status_code::out_of_range, "devices", trace.view(), on(devices), out.data(), space.view());
  expect(status_code::out_of_range, "starts", trace.view(), on(2, 0), out.data(), space.view());
  placement_options o = on(2);
  o.most_sweeps = -1;
  expect(status_code::out_of_range, "most_sweeps", trace.view(), o, out.data(), space.view());
  o = on(2);
  for (const placement& bad :
       {placement{0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1}, placement{0, 0, 1, 2, 0, 1, 0, 1, 0, 0, 1, 1}}) {
    o.initial = bad.data();
    expect(status_code::out_of_range, "initial", trace.view(), o, out.data(), space.view());
  }
  expect(status_code::null_pointer, "placement", trace.view(), on(2), nullptr, space.view());
  workspace_view small = space.view();
  --small.bytes;
  expect(status_code::workspace_too_small, "workspace", trace.view(), on(2), out.data(), small);

  const std::vector<std::int64_t> negative(16, -1);
  double affinity = -1;
  EXPECT_TRUE(support::refused(offline::conditional_affinity(negative.data(), 4, &affinity), status_code::out_of_range,
                               "counts"));
  EXPECT_TRUE(support::refused(offline::conditional_affinity(trace.counts.data(), 4, nullptr),
                               status_code::null_pointer, "affinity"));
  const placement three(12, 2);
  crossing_count crossings{-1, -1};
  EXPECT_TRUE(support::refused(offline::count_crossings(trace.view(), three.data(), 2, &crossings),
                               status_code::out_of_range, "placement"));
  EXPECT_TRUE(support::refused(offline::count_crossings(trace.view(), nullptr, 2, &crossings),
                               status_code::null_pointer, "placement"));
  EXPECT_EQ(affinity, -1);
  EXPECT_EQ(crossings.total, -1);
}

}  // namespace

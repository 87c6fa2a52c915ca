// SPDX-License-Identifier: Apache-2.0
// ExFlow: from routed ids over transition counts and a placement to the plans of all devices, dispatch only.
#include <resonance/catalogue/exflow.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include <resonance/balance/host_transitions.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/offline/placement.hpp>
#include <resonance/plan/host_plan.hpp>

#include "plan/fixture.hpp"
#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;

constexpr std::int32_t devices = 4, experts = 16, layers = 6;
constexpr std::int64_t tokens = 4 * 96;
using ids = std::vector<std::int32_t>;

//! Top-1 routes [L][T]: a token mostly goes where others of its expert go; a few are unassigned for a layer.
std::vector<ids> routes(support::random_source& random, double chance, double unassigned) {
  std::vector<ids> of_layer(layers, ids(tokens));
  ids successor(experts);
  std::iota(successor.begin(), successor.end(), 0);
  for (std::size_t l = 0; l < layers; ++l) {
    for (std::size_t i = experts; i > 1; --i) std::swap(successor[i - 1], successor[random.below(i)]);
    for (std::size_t t = 0; t < tokens; ++t) {
      const std::int32_t at = l == 0 ? -1 : of_layer[l - 1][t];
      const bool follows = at >= 0 && random.coin(chance);
      of_layer[l][t] = follows ? successor[static_cast<std::size_t>(at)] : static_cast<std::int32_t>(random.below(16));
      if (random.coin(unassigned)) of_layer[l][t] = -1;
    }
  }
  return of_layer;
}

assignment_view top_one(const ids& of_layer) {
  assignment_view a;
  a.tokens = tokens;
  a.experts = experts;
  a.slots_per_token = 1;
  a.ids = of_layer.data();
  return a;
}

struct placed {
  std::vector<std::int32_t> placement = std::vector<std::int32_t>(layers * experts);
  offline::crossing_count before, after;

  explicit placed(const std::vector<ids>& of_layer) {
    std::vector<std::int64_t> counts((layers - 1) * experts * experts);
    for (std::size_t l = 0; l + 1 < layers; ++l) {
      const matrix_view<std::int64_t> table(counts.data() + l * experts * experts, experts, experts);
      EXPECT_TRUE(support::accepted(
          balance::host_transition_counts(serial_executor{}, top_one(of_layer[l]), top_one(of_layer[l + 1]), table)));
    }
    const offline::transition_trace trace{counts.data(), layers, experts};
    offline::placement_options o;
    o.devices = devices;
    support::exact_workspace space(offline::place_experts_workspace_bytes(trace, o));
    EXPECT_TRUE(support::accepted(offline::place_experts(trace, o, placement.data(), &before, &after, space.view())));
  }
  const std::int32_t* layer(std::size_t l) const { return placement.data() + l * experts; }
};

//! The device whose plan has a row for each token; every assigned token has exactly one.
ids devices_by_plans(const ids& of_layer, const std::int32_t* placement) {
  ids at(tokens, -1);
  for (std::int32_t device = 0; device < devices; ++device) {
    ids expert_map(experts);
    plan::options o;
    EXPECT_TRUE(
        support::accepted(catalogue::exflow_expert_map(placement, experts, device, expert_map.data(), &o.num_local)));
    EXPECT_EQ(o.num_local, experts / devices);
    o.expert_map = expert_map.data();
    const assignment_view a = top_one(of_layer);
    plan_test::plan_arrays<std::int32_t> out(a, o);
    support::exact_workspace space(plan::host_plan_workspace_bytes(serial_executor{}, a, o));
    EXPECT_TRUE(support::accepted(plan::host_plan(serial_executor{}, a, o, out.view(), space.view())));
    for (std::size_t t = 0; t < tokens; ++t) {
      if (out.inverse[t] < 0) continue;
      EXPECT_EQ(at[t], -1) << "two devices for token " << t;
      at[t] = device;
      const std::int32_t e = of_layer[t];
      EXPECT_EQ(placement[e], device);
      const std::int32_t first = out.expert_offsets[static_cast<std::size_t>(expert_map[static_cast<std::size_t>(e)])];
      EXPECT_GE(out.inverse[t], first);
    }
  }
  for (std::size_t t = 0; t < tokens; ++t) EXPECT_EQ(at[t] >= 0, of_layer[t] >= 0) << t;
  return at;
}

TEST(Catalogue, ExflowPlansDispatchEveryTokenToOneDevice) {
  support::random_source random(1);
  const std::vector<ids> of_layer = routes(random, 0.8, 0.05);
  const placed found(of_layer);
  std::int64_t moved = 0, transitions = 0;
  ids home = devices_by_plans(of_layer[0], found.layer(0));
  for (std::size_t l = 1; l < layers; ++l) {
    const ids next = devices_by_plans(of_layer[l], found.layer(l));
    for (std::size_t t = 0; t < tokens; ++t) {
      if (home[t] < 0 || next[t] < 0) continue;
      ++transitions;
      moved += home[t] != next[t] ? 1 : 0;  // a token stays where its expert was
    }
    home = next;
  }
  EXPECT_EQ(moved, found.after.crossing);
  EXPECT_EQ(transitions, found.after.total);
  EXPECT_LT(found.after.share(), 0.5 * found.before.share());
  EXPECT_NEAR(found.before.share(), 1 - 1.0 / devices, 0.15);
}

// Rows counted one by one beside the formulas. Without coherence a token returns home from each expert, experts lie as
// they come; with it, a token goes from expert to expert, and in the end is known to all devices.
TEST(Catalogue, ExflowTrafficIsThePapers) {
  support::random_source random(2);
  const std::vector<ids> of_layer = routes(random, 0.9, 0.0);
  const placed found(of_layer);
  std::int64_t away = 0, moved = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto home = static_cast<std::int32_t>(t / (tokens / devices));
    std::int32_t at = home;
    for (std::size_t l = 0; l < layers; ++l) {
      const std::int32_t e = of_layer[l][static_cast<std::size_t>(t)];
      away += e / (experts / devices) != home ? 1 : 0;
      moved += found.layer(l)[e] != at ? 1 : 0;
      at = found.layer(l)[e];
    }
  }
  const catalogue::exflow_traffic traffic{devices, tokens / devices, layers};
  const auto share = [](std::int64_t rows) { return static_cast<double>(rows) / (tokens * layers); };
  EXPECT_NEAR(traffic.with_combine(share(away)), static_cast<double>(2 * away), 1e-6);
  EXPECT_NEAR(traffic.coherent(share(moved)), static_cast<double>(moved + tokens * devices), 1e-6);
  EXPECT_NEAR(share(away), 1 - 1.0 / devices, 0.05);
  EXPECT_LT(share(moved), 0.4);
  EXPECT_LT(traffic.coherent(share(moved)), traffic.with_combine(share(away)));
}

TEST(Catalogue, ExflowRefusesBadMaps) {
  ids placement(4, 0), expert_map(4, 7);
  std::int32_t num_local = 9;
  const auto expect = [&](status_code code, const char* argument, const std::int32_t* from, std::int32_t count,
                          std::int32_t* to, std::int32_t* local) {
    EXPECT_TRUE(support::refused(catalogue::exflow_expert_map(from, count, 0, to, local), code, argument));
    EXPECT_EQ(expert_map, ids(4, 7));
    EXPECT_EQ(num_local, 9);
  };
  expect(status_code::null_pointer, "placement", nullptr, 4, expert_map.data(), &num_local);
  expect(status_code::out_of_range, "experts", placement.data(), 0, expert_map.data(), &num_local);
  expect(status_code::null_pointer, "expert_map", placement.data(), 4, nullptr, &num_local);
  expect(status_code::null_pointer, "num_local", placement.data(), 4, expert_map.data(), nullptr);
}

}  // namespace

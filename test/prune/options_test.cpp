// SPDX-License-Identifier: Apache-2.0
// What may be left out of a call of host_prune, what may not, and what a refused call leaves alone.
#include "resonance/prune/options.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "prune/fixture.hpp"
#include "resonance/core/executor.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using prune_test::merged_batch;
using prune_test::pruned_arrays;

class PruneOptions : public ::testing::Test {
 protected:
  PruneOptions() : random(51), batch(random, {33, 6, 2}), view(batch.view()), out(66, 6), given(out.view()) {}

  template <class Rule, class Order>
  status prune_with(const Rule& rule, const Order& order) {
    support::exact_workspace workspace(prune::host_prune_workspace_bytes(serial_executor{}, batch.view()));
    const status got = prune::host_prune(serial_executor{}, rule, order, view, o, given, workspace.view());
    EXPECT_TRUE(workspace.intact());
    EXPECT_TRUE(got.ok() || workspace.untouched());
    return got;
  }

  template <class Rule, class Order = prune::affinity_order>
  void expect_refused(const Rule& rule, status_code code, const std::string& argument, const Order& order = {}) {
    EXPECT_TRUE(support::refused(prune_with(rule, order), code, argument));
    EXPECT_TRUE(out.untouched()) << argument;
  }

  support::random_source random;
  merged_batch batch;
  assignment_view view;
  pruned_arrays out;
  prune::outputs given;
  prune::options o;
};

TEST_F(PruneOptions, DefaultsNeitherCapNorShareNorRenormalize) {
  ASSERT_TRUE(prune_with(prune::fixed{1000}, prune::affinity_order{}).ok());
  for (std::int64_t capacity : out.capacities) EXPECT_EQ(capacity, 1000);
  for (std::size_t slot = 0; slot < 66; ++slot) EXPECT_EQ(out.weights[slot], batch.choices.weights[slot]);
}

// Each output alone: the others stay untouched, and the one asked for is as in the full run.
TEST_F(PruneOptions, EveryOutputButTheIdsMayBeLeftOut) {
  const pruned_arrays full =
      prune_test::run(serial_executor{}, prune::affinity_mass{0.6}, prune::affinity_order{}, view, {});
  for (int wanted = 0; wanted < 8; ++wanted) {
    SCOPED_TRACE(wanted);
    pruned_arrays only(66, 6);
    const prune::outputs all = only.view();
    given = {};
    given.ids = all.ids;
    if (wanted == 1) given.weights = all.weights;
    if (wanted == 2) given.capacities = all.capacities;
    if (wanted == 3) given.kept = all.kept;
    if (wanted == 4) given.dropped = all.dropped;
    if (wanted == 5) given.assigned_mass = all.assigned_mass;
    if (wanted == 6) given.kept_mass = all.kept_mass;
    if (wanted == 7) given.delta_max = all.delta_max;
    view.weights = wanted == 1 ? batch.view().weights : nullptr;
    ASSERT_TRUE(support::accepted(prune_with(prune::affinity_mass{0.6}, prune::affinity_order{})));
    const auto expect_only = [&](bool asked, const auto& got, const auto& expected) {
      if (asked)
        EXPECT_TRUE(support::bits_of(got) == support::bits_of(expected));
      else
        EXPECT_TRUE(got.untouched());
    };
    expect_only(true, only.ids, full.ids);
    expect_only(wanted == 1, only.weights, full.weights);
    expect_only(wanted == 2, only.capacities, full.capacities);
    expect_only(wanted == 3, only.kept, full.kept);
    expect_only(wanted == 4, only.dropped, full.dropped);
    expect_only(wanted == 5, only.assigned_mass, full.assigned_mass);
    expect_only(wanted == 6, only.kept_mass, full.kept_mass);
    expect_only(wanted == 7, only.delta_max, full.delta_max);
  }
}

TEST_F(PruneOptions, AffinityAndRanksAreNeededOnlyWhereTheyAreRead) {
  given = {};
  given.ids = out.ids.data();
  view.affinity = view.weights = nullptr;
  EXPECT_TRUE(support::accepted(prune_with(prune::fixed{3}, prune::affinity_order{})));
  view.rank_in_expert = nullptr;
  EXPECT_TRUE(support::accepted(prune_with(prune::factor{1.0}, prune::position{})));
  EXPECT_TRUE(support::accepted(prune_with(prune::unlimited{}, prune::slot_major{})));
}

TEST_F(PruneOptions, DeltaMaxOfTheBatchMayComeFromElsewhere) {
  const float elsewhere = 0.25F;
  o.hidden = 64;
  const prune::lower_bound rule{false, 0.0, 1, 10.0};
  o.delta_max = &elsewhere;
  ASSERT_TRUE(prune_with(rule, prune::affinity_order{}).ok());
  EXPECT_EQ(out.capacities[0], 2);  // exp(64 * .0625 / 1.9375) / 6 = 1.31
  float largest = -std::numeric_limits<float>::infinity();
  for (const reference::assignment& a : batch.assignments)
    largest = std::max(largest, batch.choices.affinity[batch.slot_of(a)]);
  EXPECT_EQ(out.delta_max[0], largest);  // what is reported stays the assignments' own
}

TEST_F(PruneOptions, TopKStandsInForTheSlotsOfARaggedList) {
  support::ragged_copy ragged(batch.choices.view(), true);
  view = ragged.view();
  view.rank_in_expert = batch.rank.data();
  o.top_k = 5;
  support::exact_workspace workspace(prune::host_prune_workspace_bytes(serial_executor{}, view));
  ASSERT_TRUE(
      prune::host_prune(serial_executor{}, prune::factor{1.0}, prune::position{}, view, o, given, workspace.view())
          .ok());
  EXPECT_EQ(out.capacities[0], 28);  // ceil(33 * 5 / 6)
}

TEST_F(PruneOptions, RefusesBadNumbers) {
  o.capacity_cap = -2;
  expect_refused(prune::unlimited{}, status_code::out_of_range, "capacity_cap");
  o = {};
  o.top_k = -1;
  expect_refused(prune::unlimited{}, status_code::out_of_range, "top_k");
  o = {};
  o.hidden = -1;
  expect_refused(prune::unlimited{}, status_code::out_of_range, "hidden");
  o = {};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  expect_refused(prune::lower_bound{}, status_code::out_of_range, "hidden");
  expect_refused(prune::fixed{-1}, status_code::out_of_range, "fixed");
  expect_refused(prune::factor{nan}, status_code::out_of_range, "capacity_factor");
  expect_refused(prune::affinity_mass{nan}, status_code::out_of_range, "rho");
  expect_refused(prune::affinity_mass{0.0}, status_code::out_of_range, "rho");
  expect_refused(prune::per_expert{}, status_code::null_pointer, "capacities");
  o.hidden = 64;
  expect_refused(prune::lower_bound{true, nan}, status_code::out_of_range, "delta");
}

TEST_F(PruneOptions, RefusesBadAssignments) {
  view.tokens = -1;
  expect_refused(prune::unlimited{}, status_code::out_of_range, "assignments.tokens");
  view = batch.view();
  view.experts = 0;
  expect_refused(prune::unlimited{}, status_code::out_of_range, "assignments.experts");
  view = batch.view();
  view.slots_per_token = 0;
  expect_refused(prune::unlimited{}, status_code::out_of_range, "assignments.slots_per_token");
  view = batch.view();
  view.ids = nullptr;
  expect_refused(prune::unlimited{}, status_code::null_pointer, "assignments.ids");
  view = batch.view();
  view.rank_in_expert = nullptr;
  expect_refused(prune::unlimited{}, status_code::null_pointer, "assignments.rank_in_expert");
  expect_refused(prune::affinity_mass{0.5}, status_code::null_pointer, "assignments.rank_in_expert", prune::position{});
  view = batch.view();
  view.weights = nullptr;
  expect_refused(prune::unlimited{}, status_code::null_pointer, "assignments.weights");
}

TEST_F(PruneOptions, RefusesMissingAffinityWhereItIsRead) {
  view.affinity = nullptr;
  given = {};
  given.ids = out.ids.data();
  o.hidden = 64;
  expect_refused(prune::affinity_mass{0.5}, status_code::null_pointer, "assignments.affinity");
  expect_refused(prune::lower_bound{}, status_code::null_pointer, "assignments.affinity");
  expect_refused(prune::fixed{1}, status_code::null_pointer, "assignments.affinity", prune::batch_prioritized{});
  given.kept_mass = out.kept_mass.data();
  expect_refused(prune::fixed{1}, status_code::null_pointer, "assignments.affinity");
  given.kept_mass = nullptr;
  given.delta_max = out.delta_max.data();
  expect_refused(prune::fixed{1}, status_code::null_pointer, "assignments.affinity");
}

TEST_F(PruneOptions, RefusesMissingOutputs) {
  given.ids = nullptr;
  expect_refused(prune::unlimited{}, status_code::null_pointer, "ids");
  given = out.view();
  given.weights = nullptr;
  o.renormalize = true;
  expect_refused(prune::unlimited{}, status_code::null_pointer, "weights");
}

TEST_F(PruneOptions, RefusesASmallWorkspace) {
  const std::size_t bytes = prune::host_prune_workspace_bytes(serial_executor{}, view);
  support::exact_workspace small(bytes - 1);
  for (workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
    EXPECT_TRUE(support::refused(
        prune::host_prune(serial_executor{}, prune::unlimited{}, prune::affinity_order{}, view, o, given, workspace),
        status_code::workspace_too_small, "workspace"));
  }
  EXPECT_TRUE(out.untouched() && small.untouched());
}

}  // namespace

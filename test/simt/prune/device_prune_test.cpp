// SPDX-License-Identifier: Apache-2.0
// Pruning on the device against the host: every output the same bits.
#include "resonance/prune/device_prune.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <simt/environment.hpp>
#include <string>
#include <vector>

#include "prune_case.hpp"
#include "resonance/prune/host_prune.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using prune_case::prune_on_device;
using prune_test::merged_batch;
using prune_test::pruned_arrays;
using support::batch_shape;

const support::any_executor& host() {
  static const support::any_executor serial{serial_executor{}};
  return serial;
}

// A regular list, or a ragged one without its offsets' last entry being read by the host part.
assignment_view for_device(assignment_view a, std::int64_t spare_slots = 0) {
  if (a.ragged()) a.slot_capacity = a.slots() + spare_slots;
  return a;
}

template <class Rule, class Order>
void expect_same(const Rule& rule, const Order& order, const assignment_view& a, const prune::options& o) {
  pruned_arrays got(static_cast<std::size_t>(a.slots()), static_cast<std::size_t>(a.experts));
  prune_on_device(rule, order, for_device(a), o, got.view());
  EXPECT_TRUE(got.intact());
  const pruned_arrays expected = prune_test::run(host(), rule, order, a, o);
  EXPECT_TRUE(got.bits() == expected.bits());
  EXPECT_TRUE(support::values_of(got.ids) == support::values_of(expected.ids));
}

// Every rule and every order once; `variant` chooses sharing, a cap and renormalizing.
void expect_same(const assignment_view& a, int variant) {
  SCOPED_TRACE("variant " + std::to_string(variant));
  prune::options o;
  o.hidden = 64;
  o.top_k = a.ragged() ? 4 : 0;
  o.shared = (variant & 1) != 0;
  o.capacity_cap = (variant & 2) != 0 ? 3 : -1;
  o.renormalize = (variant & 4) != 0;
  std::vector<std::int64_t> capacities;
  for (std::int32_t e = 0; e < a.experts; ++e) capacities.push_back(e * 7 % 5);
  expect_same(prune::affinity_mass{0.6}, prune::affinity_order{}, a, o);
  expect_same(prune::per_expert{capacities.data()}, prune::affinity_order{}, a, o);
  expect_same(prune::unlimited{}, prune::position{}, a, o);
  expect_same(prune::factor{0.7}, prune::slot_major{}, a, o);
  expect_same(prune::lower_bound{false, 0.0, 1, 0.9}, prune::batch_prioritized{}, a, o);
}

TEST(DevicePrune, AgreesWithTheHostOnManyShapes) {
  support::random_source random(61);
  int variant = 0;
  for (const batch_shape& shape : std::vector<batch_shape>{{0, 1, 1},
                                                           {0, 64, 8},
                                                           {1, 1, 1},
                                                           {1, 7, 2},
                                                           {1, 128, 22},
                                                           {31, 13, 13},
                                                           {31, 72, 10},
                                                           {32, 7, 2},
                                                           {32, 64, 8},
                                                           {33, 1, 1},
                                                           {33, 13, 13},
                                                           {33, 257, 22},
                                                           {33, 384, 8},
                                                           {257, 1, 1},
                                                           {257, 13, 13},
                                                           {257, 64, 8},
                                                           {257, 7, 2},
                                                           {257, 72, 10}}) {
    SCOPED_TRACE(::testing::Message() << shape);
    const merged_batch batch(random, shape, {random.pick(support::all_adversaries()), 0.1, true});
    expect_same(batch.view(), variant++ % 8);
  }
}

TEST(DevicePrune, AgreesWithTheHostOnManyExperts) {
  support::random_source random(62);
  for (const batch_shape& shape : {batch_shape{33, 576, 22}, {31, 1024, 8}, {3, 4096, 10}}) {
    SCOPED_TRACE(::testing::Message() << shape);
    const merged_batch batch(random, shape);
    prune::options o;
    o.shared = true;
    expect_same(prune::affinity_mass{0.5}, prune::affinity_order{}, batch.view(), o);
  }
}

TEST(DevicePrune, DoesNotDependOnTheSchedule) {
  support::random_source random(63);
  const merged_batch batch(random, {70, 7, 3});
  simt::under_every_schedule([&] {
    for (int variant : {0, 7}) expect_same(batch.view(), variant);
  });
}

// More members than a block ranks in shared memory, in one expert.
TEST(DevicePrune, OneExpertMayHoldAllAssignments) {
  support::random_source random(64);
  const merged_batch batch(random, {4700, 1, 1}, {support::adversary::mixed, 0.05, false});
  for (int variant : {0, 5}) expect_same(batch.view(), variant);
  prune::options o;
  o.hidden = 64;
  expect_same(prune::factor{0.4}, prune::slot_major{}, batch.view(), o);
  expect_same(prune::lower_bound{false, 0.0, 1, 0.4}, prune::batch_prioritized{}, batch.view(), o);
  expect_same(prune::factor{0.4}, prune::slot_major_prioritized{}, batch.view(), o);
}

TEST(DevicePrune, ReadsRaggedListsWhoseCapacityIsLarger) {
  support::random_source random(65);
  const merged_batch batch(random, {100, 13, 4});
  const support::ragged_copy ragged(batch.choices.view(), true);
  assignment_view view = ragged.view();
  view.rank_in_expert = batch.rank.data();
  expect_same(view, 4);
  const pruned_arrays expected = prune_test::run(host(), prune::fixed{4}, prune::slot_major{}, view, prune::options{});
  pruned_arrays got(static_cast<std::size_t>(view.slots()), 13);
  prune_on_device(prune::fixed{4}, prune::slot_major{}, for_device(view, 1000), prune::options{}, got.view());
  EXPECT_TRUE(got.bits() == expected.bits());
}

// Two lists side by side in the workspace: the executor would tell of blocks that share a part of it.
TEST(DevicePrune, SeveralExpertsMayHoldMany) {
  support::random_source random(74);
  const merged_batch batch(random, {9300, 2, 1}, {support::adversary::ties, 0.0, false});
  expect_same(prune::affinity_mass{0.6}, prune::affinity_order{}, batch.view(), prune::options{});
  expect_same(prune::factor{0.4}, prune::slot_major{}, batch.view(), prune::options{});
}

// Terms of such different size that every order of additions has another sum.
TEST(DevicePrune, AddsMassesInTheHostsOrder) {
  support::random_source random(75);
  merged_batch batch(random, {900, 2, 1}, {support::adversary::constant, 0.1, false});
  for (float& value : batch.choices.affinity)
    value = std::ldexp(static_cast<float>(random.uniform()), static_cast<int>(random.below(120)) - 60);
  expect_same(prune::factor{0.4}, prune::slot_major{}, batch.view(), prune::options{});
}

// Ranks that no merge would write: negative, too large, several members with one rank, ranks that nobody has.
merged_batch with_hostile_ranks(support::random_source& random, const batch_shape& shape, support::adversary kind) {
  merged_batch batch(random, shape, {kind, 0.1, true});
  const auto slots = static_cast<std::int32_t>(batch.choices.slots());
  const std::vector<std::int32_t> hostile = {-1, 0, 1, 5, slots / 2, slots, INT32_MIN, INT32_MAX};
  for (std::int32_t& rank : batch.rank)
    if (random.coin()) rank = random.pick(hostile);
  for (float& value : batch.choices.affinity)
    if (value == std::numeric_limits<float>::max()) value = std::numeric_limits<float>::infinity();
  return batch;
}

TEST(DevicePrune, TakesHostileRanksAsTheHostDoes) {
  support::random_source random(66);
  for (support::adversary kind : support::all_adversaries()) {
    SCOPED_TRACE(support::name_of(kind));
    const merged_batch batch = with_hostile_ranks(random, {80, 3, 2}, kind);
    for (double rho : {1e-9, 0.5, 1.0})
      expect_same(prune::affinity_mass{rho}, prune::affinity_order{}, batch.view(), prune::options{});
    expect_same(prune::per_expert{std::vector<std::int64_t>{9, 0, 40}.data()}, prune::affinity_order{}, batch.view(),
                prune::options{});
  }
  const merged_batch batch = with_hostile_ranks(random, {150, 2, 2}, support::adversary::mixed);
  simt::under_every_schedule(
      [&] { expect_same(prune::affinity_mass{0.5}, prune::affinity_order{}, batch.view(), prune::options{}); });
}

TEST(DevicePrune, MayWriteOverItsInput) {
  support::random_source random(67);
  const merged_batch batch(random, {150, 13, 4});
  prune::options o;
  o.renormalize = true;
  simt::under_every_schedule([&] {
    pruned_arrays in_place(batch.choices.slots(), 13);
    std::copy(batch.choices.ids.begin(), batch.choices.ids.end(), in_place.ids.begin());
    std::copy(batch.choices.weights.begin(), batch.choices.weights.end(), in_place.weights.begin());
    assignment_view view = batch.view();
    view.ids = in_place.ids.data();
    view.weights = in_place.weights.data();
    prune_on_device(prune::fixed{20}, prune::slot_major{}, view, o, in_place.view());
    EXPECT_TRUE(in_place.bits() ==
                prune_test::run(host(), prune::fixed{20}, prune::slot_major{}, batch.view(), o).bits());
  });
}

TEST(DevicePrune, EveryOutputButTheIdsMayBeLeftOut) {
  support::random_source random(68);
  const merged_batch batch(random, {33, 6, 2});
  const prune::options o;
  const prune::affinity_mass rule{0.6};
  const pruned_arrays full = prune_test::run(host(), rule, prune::affinity_order{}, batch.view(), o);
  for (int wanted = 0; wanted < 8; ++wanted) {
    SCOPED_TRACE(wanted);
    pruned_arrays only(66, 6);
    const prune::outputs all = only.view();
    prune::outputs given;
    given.ids = all.ids;
    if (wanted == 1) given.weights = all.weights;
    if (wanted == 2) given.capacities = all.capacities;
    if (wanted == 3) given.kept = all.kept;
    if (wanted == 4) given.dropped = all.dropped;
    if (wanted == 5) given.assigned_mass = all.assigned_mass;
    if (wanted == 6) given.kept_mass = all.kept_mass;
    if (wanted == 7) given.delta_max = all.delta_max;
    prune_on_device(rule, prune::affinity_order{}, batch.view(), o, given);
    const auto expect_only = [&](bool asked, const auto& got, const auto& expected) {
      EXPECT_TRUE(asked ? support::bits_of(got) == support::bits_of(expected) : got.untouched());
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

TEST(DevicePrune, DeltaMaxMayComeFromElsewhere) {
  support::random_source random(69);
  const merged_batch batch(random, {33, 6, 2});
  const float elsewhere = 0.25F;
  prune::options o;
  o.hidden = 64;
  o.delta_max = &elsewhere;
  expect_same(prune::lower_bound{false, 0.0, 1, 10.0}, prune::batch_prioritized{}, batch.view(), o);
}

// A graph captured for 300 tokens that serves fewer: the rest is neither read nor written.
TEST(DevicePrune, ServesFewerTokensThanTheShapes) {
  support::random_source random(70);
  const merged_batch batch(random, {300, 13, 4});
  prune::options o;
  o.hidden = 64;
  o.renormalize = true;
  for (std::int64_t live : {std::int64_t{-5}, std::int64_t{0}, std::int64_t{1}, std::int64_t{200}, std::int64_t{999}}) {
    SCOPED_TRACE(live);
    assignment_view fewer = batch.view();
    fewer.tokens = std::clamp<std::int64_t>(live, 0, 300);
    const auto expect = [&](const auto& rule, const auto& order) {
      const pruned_arrays expected = prune_test::run(host(), rule, order, fewer, o);
      pruned_arrays got(batch.choices.slots(), 13);
      prune_on_device(rule, order, batch.view(), o, got.view(), &live);
      const std::size_t slots = expected.ids.size();
      EXPECT_TRUE(std::equal(expected.ids.begin(), expected.ids.end(), got.ids.begin()));
      EXPECT_TRUE(std::equal(expected.weights.begin(), expected.weights.end(), got.weights.begin()));
      EXPECT_TRUE(got.ids.untouched(slots, got.ids.size() - slots));
      EXPECT_TRUE(got.weights.untouched(slots, got.ids.size() - slots));
      EXPECT_TRUE(support::values_of(got.capacities) == support::values_of(expected.capacities));
      EXPECT_TRUE(support::values_of(got.kept) == support::values_of(expected.kept));
      EXPECT_EQ(got.delta_max[0], expected.delta_max[0]);
    };
    expect(prune::factor{0.7}, prune::slot_major{});
    expect(prune::lower_bound{false, 0.0, 1, 0.9}, prune::batch_prioritized{});
  }
}

TEST(DevicePrune, LaunchesAsFewKernelsAsItSays) {
  support::random_source random(71);
  const merged_batch batch(random, {257, 13, 4});
  const auto launches = [&](const auto& rule, const auto& order, const prune::options& o, bool delta_max) {
    simt::config().count_traffic = true;
    simt::reset_traffic();
    pruned_arrays got(batch.choices.slots(), 13);
    prune::outputs out = got.view();
    if (!delta_max) out.delta_max = nullptr;
    prune_on_device(rule, order, batch.view(), o, out);
    return simt::traffic().launches.size();
  };
  prune::options o;
  EXPECT_EQ(launches(prune::affinity_mass{0.6}, prune::affinity_order{}, o, false), 2U);
  EXPECT_EQ(launches(prune::affinity_mass{0.6}, prune::affinity_order{}, o, true), 3U);
  o.shared = o.renormalize = true;
  o.hidden = 8;
  EXPECT_EQ(launches(prune::factor{0.7}, prune::slot_major{}, o, false), 4U);
  EXPECT_EQ(launches(prune::lower_bound{false, 0.0, 1, 0.9}, prune::batch_prioritized{}, o, false), 5U);
}

// The device refuses what the host refuses, by the same name, and writes nothing.
class RefusedDevicePrune : public ::testing::Test {
 protected:
  RefusedDevicePrune() : random(73), batch(random, {33, 6, 2}), view(batch.view()), out(66, 6), given(out.view()) {}

  template <class Rule, class Order>
  void expect_as_host(const Rule& rule, const Order& order, const std::string& argument) {
    support::exact_workspace workspace(1 << 16);
    const status expected = prune::host_prune(serial_executor{}, rule, order, view, o, given, workspace.view());
    EXPECT_TRUE(support::refused(prune::device_prune({}, rule, order, view, o, given, workspace.view()), expected.code,
                                 argument));
    EXPECT_TRUE(support::refused(expected, expected.code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
    view = batch.view();
    given = out.view();
    o = {};
  }

  support::random_source random;
  merged_batch batch;
  assignment_view view;
  pruned_arrays out;
  prune::outputs given;
  prune::options o;
};

TEST_F(RefusedDevicePrune, AsTheHostDoes) {
  const prune::affinity_mass mass{0.6};
  const prune::per_expert own{};
  const prune::lower_bound bound{false, 0.0, 1, 0.9};
  const prune::affinity_order by_rank;
  const prune::batch_prioritized by_best;
  view.tokens = -1;
  expect_as_host(mass, by_rank, "assignments.tokens");
  view.experts = 0;
  expect_as_host(mass, by_rank, "assignments.experts");
  view.slots_per_token = 0;
  expect_as_host(mass, by_rank, "assignments.slots_per_token");
  view.ids = nullptr;
  expect_as_host(mass, by_rank, "assignments.ids");
  view.affinity = nullptr;
  expect_as_host(mass, by_rank, "assignments.affinity");
  view.rank_in_expert = nullptr;
  expect_as_host(mass, by_rank, "assignments.rank_in_expert");
  view.weights = nullptr;
  expect_as_host(mass, by_rank, "assignments.weights");
  given.ids = nullptr;
  expect_as_host(mass, by_rank, "ids");
  given.weights = nullptr;
  o.renormalize = true;
  expect_as_host(mass, by_rank, "weights");
  o.capacity_cap = -2;
  expect_as_host(mass, by_rank, "capacity_cap");
  o.top_k = -1;
  expect_as_host(mass, by_rank, "top_k");
  o.hidden = -1;
  expect_as_host(mass, by_rank, "hidden");
  expect_as_host(prune::affinity_mass{0.0}, by_rank, "rho");
  expect_as_host(own, by_rank, "capacities");
  expect_as_host(bound, by_best, "hidden");
}

TEST_F(RefusedDevicePrune, ASmallWorkspaceAndTooManySlots) {
  const std::size_t bytes = prune::device_prune_workspace_bytes<prune::affinity_mass, prune::affinity_order>(view);
  support::exact_workspace small(bytes - 1);
  const auto refuse = [&](workspace_view workspace, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(
        prune::device_prune({}, prune::affinity_mass{0.6}, prune::affinity_order{}, view, o, given, workspace), code,
        argument));
    EXPECT_TRUE(out.untouched() && small.untouched());
  };
  refuse(small.view(), status_code::workspace_too_small, "workspace");
  refuse({nullptr, bytes}, status_code::workspace_too_small, "workspace");
  view.tokens = std::int64_t{1} << 31;
  view.tokens -= 1;
  view.slots_per_token = 3;
  refuse(small.view(), status_code::index_overflow, "assignments");
}

// A rule of the user's own without check_shape is asked by its check; the capacities in per_expert are not read.
struct even_experts_only {
  using stage = stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  std::int64_t count = 0;
  status check(const prune::batch_facts&) const { return detail::checks{}.in_range(count >= 0, "count").result(); }
  RESONANCE_HOST_DEVICE std::int64_t capacity(const prune::batch_facts&, std::int32_t e, std::int64_t) const {
    return e % 2 == 0 ? count : 0;
  }
};

TEST_F(RefusedDevicePrune, RulesOfTheUsersOwn) {
  expect_as_host(even_experts_only{-1}, prune::affinity_order{}, "count");
  expect_same(even_experts_only{3}, prune::affinity_order{}, view, prune::options{});
  EXPECT_TRUE(
      detail::check_device_rule(prune::per_expert{reinterpret_cast<const std::int64_t*>(8)}, {1, 6, 1, 0, 0}).ok());
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include <resonance/plan/device_plan.cuh>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <simt/environment.hpp>

#include "plan/fixture.hpp"
#include "resonance/plan/host_plan.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using plan_test::plan_arrays;
using support::exact_workspace;

template <class Index>
plan_arrays<Index> host(const assignment_view& a, const plan::options& o, const assignment_view& sizes) {
  plan_arrays<Index> out(sizes, o);
  exact_workspace workspace(plan::host_plan_workspace_bytes(serial_executor{}, a, o));
  EXPECT_TRUE(support::accepted(plan::host_plan(serial_executor{}, a, o, out.view(), workspace.view())));
  return out;
}

template <class Index>
plan_arrays<Index> device(const assignment_view& a, const plan::options& o, const std::int64_t* tokens = nullptr) {
  device_stream on;
  on.num_tokens = tokens;
  plan_arrays<Index> out(a, o);
  exact_workspace workspace(plan::device_plan_workspace_bytes<Index>(a, o));
  EXPECT_TRUE(support::accepted(plan::device_plan(on, a, o, out.view(), workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return out;
}

template <class Index>
void expect_the_hosts_plan(const assignment_view& a, const plan::options& o) {
  EXPECT_TRUE(device<Index>(a, o).bits() == host<Index>(a, o, a).bits());
}

// Some experts on this device, some numbers of theirs out of range.
std::vector<std::int32_t> random_map(support::random_source& random, std::size_t experts) {
  std::vector<std::int32_t> map(experts);
  for (std::int32_t& local : map)
    local = random.coin(0.6) ? static_cast<std::int32_t>(random.below(experts)) : random.coin() ? -1 : INT32_MIN;
  return map;
}

template <class Index>
class DevicePlan : public ::testing::Test {};
using index_types = ::testing::Types<std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(DevicePlan, index_types, );

TYPED_TEST(DevicePlan, IsTheHostsPlanWithAllOptions) {
  support::random_source random(311);
  // The last two, in one tile and in two, with every combination of options (32-bit indices); the others with one.
  const std::vector<support::batch_shape> shapes = {
      {0, 13, 2},    {1, 1, 1},     {1, 64, 8},    {31, 7, 7},   {32, 72, 8},   {33, 128, 22},
      {33, 257, 8},  {257, 288, 8}, {257, 6, 6},   {33, 384, 1}, {33, 512, 10}, {33, 576, 22},
      {40, 1024, 8}, {40, 4096, 8}, {4099, 13, 2}, {257, 13, 8}, {2100, 7, 5}};
  for (const support::batch_shape& s : shapes) {
    const support::random_choices c(random, s, {support::adversary::mixed, 0.2, true});
    const std::vector<std::int32_t> map = random_map(random, c.experts());
    const bool every_variant = sizeof(TypeParam) == 4 && &s >= &shapes.back() - 1;
    const int first = every_variant ? 0 : static_cast<int>(random.below(8));
    for (int variant = first; variant < (every_variant ? 8 : first + 1); ++variant) {
      SCOPED_TRACE(::testing::Message() << s << " variant " << variant);
      plan::options o;
      o.tile_tokens = random.pick(std::vector<std::int32_t>{1, 4, 16, 128, 7});
      o.by_affinity = (variant & 1) != 0;
      if ((variant & 2) != 0) o.pad_to_capacity = static_cast<std::int64_t>(random.below(c.tokens() / 2 + 2));
      if ((variant & 4) != 0) {
        o.expert_map = map.data();
        o.num_local = static_cast<std::int32_t>(random.between(1, c.experts()));
      }
      expect_the_hosts_plan<TypeParam>(c.view(), o);
    }
  }
}

TYPED_TEST(DevicePlan, AgreesWithTheReference) {
  support::random_source random(318);
  for (const support::batch_shape& s :
       {support::batch_shape{0, 13, 2}, {1, 1, 1}, {33, 72, 8}, {257, 13, 2}, {33, 257, 8}})
    plan_test::expect_every_option(
        random, s, [](const assignment_view& a, const plan::options& o) { return device<TypeParam>(a, o); });
}

TYPED_TEST(DevicePlan, DoesNotDependOnTheSchedule) {
  support::random_source random(312);
  for (const support::batch_shape& s : {support::batch_shape{33, 72, 8}, {2100, 13, 4}}) {
    const support::random_choices c(random, s, {support::adversary::ties, 0.2, true});
    for (const bool by_affinity : {false, true}) {
      plan::options o;
      o.tile_tokens = 16;
      o.by_affinity = by_affinity;
      const std::string expected = host<TypeParam>(c.view(), o, c.view()).bits();
      simt::under_every_schedule([&] { EXPECT_TRUE(device<TypeParam>(c.view(), o).bits() == expected); });
    }
  }
}

TYPED_TEST(DevicePlan, NumbersTheSlotsOfRaggedListsAndOfTheTokensThatAreThere) {
  support::random_source random(313);
  for (const support::batch_shape& s : {support::batch_shape{0, 3, 1}, {33, 6, 2}, {1500, 13, 8}}) {
    const support::random_choices c(random, s, {support::adversary::ties, 0.3, true});
    const support::ragged_copy copy(c.view(), false);
    assignment_view ragged = copy.view();
    ragged.slot_capacity = ragged.slots();
    for (const bool by_affinity : {false, true}) {
      plan::options o;
      o.tile_tokens = 16;
      o.by_affinity = by_affinity;
      expect_the_hosts_plan<TypeParam>(ragged, o);
      for (const std::int64_t live : {std::int64_t{0}, s.tokens / 3, s.tokens}) {
        SCOPED_TRACE(::testing::Message() << s << " live " << live);
        for (const assignment_view& whole : {c.view(), ragged}) {
          assignment_view part = whole;
          part.tokens = live;
          EXPECT_TRUE(device<TypeParam>(whole, o, &live).bits() == host<TypeParam>(part, o, whole).bits());
        }
      }
    }
  }
}

TYPED_TEST(DevicePlan, PutsHotExpertsIntoOrder) {
  support::random_source random(314);
  std::vector<float> affinity = support::adversarial_values(random, 10000, support::adversary::mixed);
  std::vector<std::int32_t> ids(10000, 3);  // two with more members than fit shared memory
  std::fill(ids.begin(), ids.begin() + 4500, 2);
  assignment_view a;
  a.tokens = 10000;
  a.experts = 5;
  a.slots_per_token = 1;
  a.ids = ids.data();
  a.affinity = affinity.data();
  for (const bool by_affinity : {false, true})
    for (const std::int64_t capacity : {-1, 777}) {
      plan::options o;
      o.tile_tokens = 128;
      o.by_affinity = by_affinity;
      o.pad_to_capacity = capacity;
      expect_the_hosts_plan<TypeParam>(a, o);
    }
}

TYPED_TEST(DevicePlan, MayLeaveOutCountsAndTileExperts) {
  support::random_source random(315);
  const support::random_choices c(random, {33, 6, 2});
  for (const bool by_affinity : {false, true}) {
    plan::options o;
    o.tile_tokens = 4;
    o.by_affinity = by_affinity;
    const plan_arrays<TypeParam> full = device<TypeParam>(c.view(), o);
    plan_arrays<TypeParam> part(c.view(), o);
    plan::outputs<TypeParam> out = part.view();
    out.tokens_per_expert = nullptr;
    out.expert_ids = nullptr;
    exact_workspace workspace(plan::device_plan_workspace_bytes<TypeParam>(c.view(), o));
    ASSERT_TRUE(plan::device_plan({}, c.view(), o, out, workspace.view()).ok());
    EXPECT_TRUE(part.tokens_per_expert.untouched() && part.expert_ids.untouched());
    EXPECT_EQ(support::bits_of(part.expert_offsets, part.sorted_token_ids, part.inverse, part.num_rows),
              support::bits_of(full.expert_offsets, full.sorted_token_ids, full.inverse, full.num_rows));
  }
}

TEST(DevicePlanCost, BytesAndLaunches) {
  support::random_source random(316);
  struct expected_cost {
    support::batch_shape shape;
    std::size_t launches;
    double most;  // bytes over the fewest
  };
  // Past one tile the ids are read twice: 16 bytes per slot instead of 12, and the counts.
  for (const expected_cost& e : {expected_cost{{1024, 256, 8}, 1, 1.01},
                                 {{1024, 64, 8}, 1, 1.01},
                                 {{4096, 256, 8}, 2, 1.45},
                                 {{4096, 64, 2}, 1, 1.01},
                                 {{4096, 64, 8}, 2, 1.38}}) {
    const support::random_choices c(random, e.shape, {support::adversary::ties, 0.0, false});
    plan_arrays<std::int32_t> out(c.view(), {});
    plan::outputs<std::int32_t> asked = out.view();
    asked.tokens_per_expert = nullptr;
    asked.expert_ids = nullptr;
    exact_workspace workspace(plan::device_plan_workspace_bytes<std::int32_t>(c.view(), {}));
    simt::reset_traffic();
    simt::config().count_traffic = true;
    ASSERT_TRUE(plan::device_plan({}, c.view(), {}, asked, workspace.view()).ok());
    simt::config().count_traffic = false;
    const auto& traffic = simt::traffic();
    const double fewest = 12.0 * static_cast<double>(c.slots()) + 4.0 * (e.shape.experts + 1);
    const double moved = static_cast<double>(traffic.loads().bytes + traffic.stores().bytes);
    EXPECT_EQ(traffic.launches.size(), e.launches) << e.shape;
    EXPECT_LE(moved, e.most * fewest) << e.shape << " moves " << moved / fewest;
  }
}

template <class Index>
class RefusedDevicePlan : public ::testing::Test {
 protected:
  RefusedDevicePlan() : random(317), c(random, {33, 6, 2}), view(c.view()), out(view, {}), given(out.view()) {}

  void expect(status_code code, const std::string& argument) {
    exact_workspace workspace(1 << 14);
    EXPECT_TRUE(support::refused(plan::device_plan({}, view, o, given, workspace.view()), code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
    view = c.view();
    o = {};
    given = out.view();
  }

  support::random_source random;
  support::random_choices c;
  assignment_view view;
  plan::options o;
  plan_arrays<Index> out;
  plan::outputs<Index> given;
};
TYPED_TEST_SUITE(RefusedDevicePlan, index_types, );

TYPED_TEST(RefusedDevicePlan, BadArguments) {
  this->view.ids = nullptr;
  this->expect(status_code::null_pointer, "assignments.ids");
  this->view.tokens = -3;
  this->expect(status_code::out_of_range, "assignments.tokens");
  this->view.affinity = nullptr;
  this->o.by_affinity = true;
  this->expect(status_code::null_pointer, "assignments.affinity");
  this->o.tile_tokens = 0;
  this->expect(status_code::out_of_range, "tile_tokens");
  this->o.pad_to_capacity = -2;
  this->expect(status_code::out_of_range, "pad_to_capacity");
  this->o.expert_map = this->c.ids.data();
  this->expect(status_code::out_of_range, "num_local");
  this->given.expert_offsets = nullptr;
  this->expect(status_code::null_pointer, "expert_offsets");
  this->given.num_rows = nullptr;
  this->expect(status_code::null_pointer, "num_rows");
  this->given.inverse = nullptr;
  this->expect(status_code::null_pointer, "inverse");
  this->given.sorted_token_ids = nullptr;
  this->expect(status_code::null_pointer, "sorted_token_ids");
}

TYPED_TEST(RefusedDevicePlan, CountsThatTheIndexCannotHold) {
  if (sizeof(TypeParam) == 4) {
    this->view.tokens = std::int64_t{1} << 30;  // 2^31 slots
    this->expect(status_code::index_overflow, "inverse");
    this->o.pad_to_capacity = std::int64_t{1} << 29;  // 6 * 2^29 rows
    this->expect(status_code::index_overflow, "sorted_token_ids");
  } else {
    this->view.experts = 64;
    this->o.pad_to_capacity = std::int64_t{1} << 58;
    this->expect(status_code::index_overflow, "pad_to_capacity");
    this->view.tokens = detail::max_int32;
    this->view.slots_per_token = 3;
    this->o.by_affinity = true;
    this->expect(status_code::index_overflow, "assignments");
  }
}

TYPED_TEST(RefusedDevicePlan, SmallWorkspace) {
  const support::random_choices many(this->random, {1700, 6, 5});
  this->view = many.view();
  plan_arrays<TypeParam> outputs(many.view(), {});
  for (const bool by_affinity : {false, true}) {
    this->o.by_affinity = by_affinity;
    const std::size_t bytes = plan::device_plan_workspace_bytes<TypeParam>(this->view, this->o);
    exact_workspace small(bytes - 1);
    for (const workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
      EXPECT_TRUE(support::refused(plan::device_plan({}, this->view, this->o, outputs.view(), workspace),
                                   status_code::workspace_too_small, "workspace"));
    }
    EXPECT_TRUE(outputs.untouched() && small.untouched());
  }
}

}  // namespace

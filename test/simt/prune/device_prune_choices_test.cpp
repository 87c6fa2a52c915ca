// SPDX-License-Identifier: Apache-2.0
// Token-side pruning on the device: the host's bits, and the reference's decisions.
#include "resonance/prune/device_prune_choices.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <vector>

#include "prune/choices_reference.hpp"
#include "resonance/prune/host_prune_choices.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

struct pruned_choices {
  guarded_buffer<std::int32_t> ids;
  guarded_buffer<float> weights;
  guarded_buffer<std::int64_t> count{1};
  explicit pruned_choices(std::int64_t slots)
      : ids(static_cast<std::size_t>(slots)), weights(static_cast<std::size_t>(slots)) {}
  bool intact() const { return ids.intact() && weights.intact() && count.intact(); }
  bool untouched() const { return ids.untouched() && weights.untouched() && count.untouched(); }
  prune::choice_outputs outputs() { return {ids.data(), weights.data(), count.data()}; }
  std::string bits() const { return support::bits_of(ids, weights, count); }
};

template <class Rule>
std::string by_host(const Rule& rule, const assignment_view& a, const std::uint8_t* protected_tokens,
                    bool renormalize) {
  pruned_choices out(a.slots());
  EXPECT_TRUE(support::accepted(prune::host_prune_choices(serial_executor{}, rule, a, protected_tokens,
                                                          prune::choice_options{renormalize}, out.outputs())));
  return out.bits();
}

template <class Rule>
pruned_choices by_device(const Rule& rule, const assignment_view& a, const std::uint8_t* protected_tokens,
                         bool renormalize, const std::int64_t* num_tokens = nullptr) {
  pruned_choices out(a.most_slots());
  exact_workspace workspace(prune::device_prune_choices_workspace_bytes(a.tokens));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(prune::device_prune_choices(
      on, rule, a, protected_tokens, prune::choice_options{renormalize}, out.outputs(), workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return out;
}

std::vector<std::uint8_t> some_protected(support::random_source& random, std::int64_t tokens) {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(tokens) + 1);
  for (std::uint8_t& token : mask) token = random.coin(0.2) ? 1 : 0;
  return mask;
}

TEST(DevicePruneChoices, HasTheHostsBits) {
  support::random_source random(1);
  for (const support::batch_shape& s : {support::batch_shape{0, 13, 2},
                                        {1, 1, 1},
                                        {33, 72, 10},
                                        {255, 8, 2},
                                        {257, 8, 2},
                                        {1000, 13, 3},
                                        {7, 300, 100}}) {
    support::random_choices c(random, s, {support::adversary::mixed, 0.2, true});
    for (float& weight : c.weights)
      if (random.coin(0.1)) weight = support::adversarial_value(random, support::adversary::mixed);
    const auto mask = some_protected(random, s.tokens);
    const support::ragged_copy ragged(c.view(), random.coin());
    assignment_view list = ragged.view();
    list.slot_capacity = list.slots();
    for (const assignment_view& a : {c.view(), list}) {
      for (const std::uint8_t* protected_tokens : {static_cast<const std::uint8_t*>(nullptr), mask.data()}) {
        const bool renormalize = random.coin();
        SCOPED_TRACE(::testing::Message() << s << " " << a.ragged() << renormalize << " " << simt::next_schedule());
        const prune::weight_ratio ratio{0.5F};
        EXPECT_TRUE(by_device(ratio, a, protected_tokens, renormalize).bits() ==
                    by_host(ratio, a, protected_tokens, renormalize));
        const prune::sensitivity sensitive{0.01F, 0.2F};
        EXPECT_TRUE(by_device(sensitive, a, protected_tokens, renormalize).bits() ==
                    by_host(sensitive, a, protected_tokens, renormalize));
      }
    }
  }
}

TEST(DevicePruneChoices, AgreesWithTheReference) {
  support::random_source random(2);
  for (const std::size_t tokens : {0, 1, 257, 600}) {
    for (const std::size_t top_k : {1, 2, 5}) {
      const choices_reference::table t(random, tokens, top_k);
      assignment_view a;
      a.tokens = static_cast<std::int64_t>(tokens);
      a.experts = t.experts;
      a.slots_per_token = static_cast<std::int32_t>(top_k);
      a.ids = t.ids.data();
      a.weights = t.weights.data();
      const auto ratio = by_device(prune::weight_ratio{0.6F}, a, t.protected_tokens.data(), true);
      choices_reference::expect_same(t, choices_reference::prune(t, true, 0.6F, true, true), ratio.ids, ratio.weights,
                                     ratio.count[0]);
      const auto share = by_device(prune::sensitivity{0.005F, 0.1F}, a, nullptr, false);
      choices_reference::expect_same(t, choices_reference::prune(t, false, std::sqrt(0.05), false, false), share.ids,
                                     share.weights, share.count[0]);
    }
  }
}

TEST(DevicePruneChoices, IsTheSameUnderEverySchedule) {
  support::random_source random(3);
  const support::random_choices c(random, {600, 13, 3});
  const auto mask = some_protected(random, 600);
  const std::string expected = by_host(prune::weight_ratio{0.7F}, c.view(), mask.data(), true);
  simt::under_every_schedule(
      [&] { EXPECT_TRUE(by_device(prune::weight_ratio{0.7F}, c.view(), mask.data(), true).bits() == expected); });
}

TEST(DevicePruneChoices, LooksAtTheTokensThatThereAre) {
  support::random_source random(4);
  const support::random_choices c(random, {600, 13, 2});
  for (const std::int64_t tokens : {0, 1, 256, 300, 600}) {
    assignment_view there = c.view();
    there.tokens = tokens;
    const auto out = by_device(prune::weight_ratio{0.7F}, c.view(), nullptr, true, &tokens);
    const auto of_them = by_device(prune::weight_ratio{0.7F}, there, nullptr, true);
    EXPECT_EQ(out.count[0], of_them.count[0]) << tokens;
    const auto slots = static_cast<std::size_t>(tokens) * 2;
    for (std::size_t i = 0; i < slots; ++i) EXPECT_EQ(out.ids[i], of_them.ids[i]);
    EXPECT_TRUE(out.ids.untouched(slots, 1200 - slots) && out.weights.untouched(slots, 1200 - slots)) << tokens;
  }
}

TEST(DevicePruneChoices, WorksInPlaceAndWithoutTheCount) {
  support::random_source random(5);
  support::random_choices c(random, {300, 13, 3});
  const auto expected = by_device(prune::weight_ratio{0.7F}, c.view(), nullptr, true);
  exact_workspace workspace(prune::device_prune_choices_workspace_bytes(300));
  EXPECT_TRUE(
      support::accepted(prune::device_prune_choices({}, prune::weight_ratio{0.7F}, c.view(), nullptr, {true},
                                                    {c.ids.data(), c.weights.data(), nullptr}, workspace.view())));
  EXPECT_EQ(c.ids, support::values_of(expected.ids));
  EXPECT_EQ(c.weights, support::values_of(expected.weights));
  EXPECT_TRUE(workspace.untouched());
}

TEST(DevicePruneChoicesErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(6);
  const support::random_choices c(random, {33, 6, 2});
  pruned_choices out(66);
  exact_workspace workspace(prune::device_prune_choices_workspace_bytes(33));
  const auto expect = [&](const auto& rule, const assignment_view& a, const prune::choice_outputs& to,
                          workspace_view space, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(prune::device_prune_choices({}, rule, a, nullptr, {}, to, space), code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  };
  const prune::weight_ratio rule{0.5F};
  const workspace_view space = workspace.view();
  expect(prune::weight_ratio{std::nanf("")}, c.view(), out.outputs(), space, status_code::out_of_range, "mu");
  expect(prune::sensitivity{-1.0F, 1.0F}, c.view(), out.outputs(), space, status_code::out_of_range, "tolerated_loss");
  assignment_view a = c.view();
  a.weights = nullptr;
  expect(rule, a, out.outputs(), space, status_code::null_pointer, "assignments.weights");
  a = c.view();
  a.ids = nullptr;
  expect(rule, a, out.outputs(), space, status_code::null_pointer, "assignments.ids");
  expect(rule, c.view(), {nullptr, out.weights.data(), nullptr}, space, status_code::null_pointer, "ids");
  expect(rule, c.view(), {out.ids.data(), nullptr, nullptr}, space, status_code::null_pointer, "weights");
  expect(rule, c.view(), out.outputs(), {space.data, space.bytes - 1}, status_code::workspace_too_small, "workspace");
}

}  // namespace

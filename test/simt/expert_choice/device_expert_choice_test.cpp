// SPDX-License-Identifier: Apache-2.0
// Expert choice on the device: the same rows as the host's, bit for bit, and as the reference's.
#include "resonance/expert_choice/device_expert_choice.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <type_traits>
#include <vector>

#include "expert_choice/fixture.hpp"
#include "resonance/expert_choice/host_expert_choice.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using expert_choice_test::rows;
using support::exact_workspace;
using support::guarded_buffer;

std::int64_t experts_of(const matrix_view<const float>& scores) { return scores.cols; }
std::int64_t experts_of(const assignment_view& candidates) { return candidates.experts; }

std::size_t host_bytes(const matrix_view<const float>& scores) {
  return expert_choice::host_expert_choice_workspace_bytes(serial_executor{}, scores.rows);
}
std::size_t host_bytes(const assignment_view& candidates) {
  return expert_choice::host_expert_choice_workspace_bytes(serial_executor{}, candidates);
}
std::size_t device_bytes(const matrix_view<const float>& scores, const expert_choice::options& o) {
  return expert_choice::device_expert_choice_workspace_bytes(scores.rows, scores.cols, o);
}
std::size_t device_bytes(const assignment_view& candidates, const expert_choice::options&) {
  return expert_choice::device_expert_choice_workspace_bytes(candidates);
}

template <class Source>
std::string chosen_by_host(const Source& source, const expert_choice::options& o) {
  rows out(experts_of(source), o.capacity);
  exact_workspace workspace(host_bytes(source));
  EXPECT_TRUE(
      support::accepted(expert_choice::host_expert_choice(serial_executor{}, source, o, out.view(), workspace.view())));
  return out.bits();
}

template <class Source>
rows choose_on_device(const Source& source, const expert_choice::options& o, const std::int64_t* num_tokens = nullptr) {
  rows out(experts_of(source), o.capacity);
  exact_workspace workspace(device_bytes(source, o));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(expert_choice::device_expert_choice(on, source, o, out.view(), workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  return out;
}

template <class Source>
std::string chosen_by_device(const Source& source, const expert_choice::options& o,
                             const std::int64_t* num_tokens = nullptr) {
  return choose_on_device(source, o, num_tokens).bits();
}

//! The device takes what the host takes.
template <class Source>
void expect_as_host(const Source& source, const expert_choice::options& o) {
  SCOPED_TRACE(simt::next_schedule());
  EXPECT_TRUE(chosen_by_device(source, o) == chosen_by_host(source, o));
}

//! Device memory holds no more slots than the list has.
assignment_view on_device(const support::ragged_copy& ragged) {
  assignment_view view = ragged.view();
  view.slot_capacity = static_cast<std::int64_t>(ragged.ids.size());
  return view;
}

const std::vector<support::batch_shape> shapes = {{0, 7, 2},    {1, 1, 1},     {31, 13, 2}, {32, 64, 8},
                                                  {33, 72, 10}, {257, 13, 13}, {257, 9, 2}, {1500, 6, 2}};
const std::vector<support::batch_shape> wide_shapes = {{33, 128, 8}, {31, 257, 8}, {33, 288, 2},  {32, 384, 8},
                                                       {9, 512, 22}, {9, 576, 8},  {5, 1024, 10}, {3, 4096, 8}};

TEST(DeviceExpertChoice, TakesTheBestOfAllTokens) {
  support::random_source random(1);
  const auto expect = [&](const support::batch_shape& s, support::adversary kind,
                          const std::vector<std::int64_t>& capacities) {
    const std::int64_t stride = s.experts + 3;
    const std::vector<float> values =
        support::adversarial_values(random, static_cast<std::size_t>(s.tokens * stride), kind);
    for (const std::int64_t capacity : capacities) {
      SCOPED_TRACE(::testing::Message() << s << " " << support::name_of(kind) << " C=" << capacity);
      expert_choice::options o;
      o.capacity = capacity;
      expect_as_host(matrix_view<const float>(values.data(), s.tokens, s.experts, stride), o);
    }
  };
  for (const support::batch_shape& s : shapes)
    for (const support::adversary kind : {support::adversary::mixed, support::adversary::ties})
      expect(s, kind, {1, s.tokens / 2 + 1, s.tokens + 3});
  for (const support::batch_shape& s : wide_shapes) expect(s, support::adversary::mixed, {s.tokens / 2 + 1});
}

TEST(DeviceExpertChoice, TakesTheBestOfItsCandidates) {
  support::random_source random(2);
  for (const support::batch_shape& s : shapes) {
    const support::random_choices choices(random, s);
    const support::ragged_copy ragged(choices.view(), random.coin());
    for (const std::int64_t capacity : {std::int64_t{1}, s.tokens / 3 + 1, s.tokens * s.top_k + 1}) {
      SCOPED_TRACE(::testing::Message() << s << " C=" << capacity);
      expert_choice::options o;
      o.capacity = capacity;
      expect_as_host(choices.view(), o);
      expect_as_host(on_device(ragged), o);
    }
  }
  for (const support::batch_shape& s : wide_shapes) {
    SCOPED_TRACE(::testing::Message() << s);
    expert_choice::options o;
    o.capacity = s.tokens / 3 + 1;
    expect_as_host(support::random_choices(random, s).view(), o);
  }
}

TEST(DeviceExpertChoice, AgreesWithTheReference) {
  support::random_source random(10);
  const auto of_all = [](const matrix_view<const float>& scores, const expert_choice::options& o) {
    return choose_on_device(scores, o);
  };
  const auto of_candidates = [](assignment_view candidates, const expert_choice::options& o) {
    candidates.slot_capacity = candidates.slots();
    return choose_on_device(candidates, o);
  };
  for (const support::batch_shape& s :
       {support::batch_shape{0, 13, 2}, {1, 1, 1}, {33, 72, 8}, {257, 13, 2}, {33, 257, 8}}) {
    for (const support::adversary kind : {support::adversary::mixed, support::adversary::ties})
      expert_choice_test::expect_best_of_all_tokens(random, s, kind, of_all);
    expert_choice_test::expect_best_of_candidates(random, s, of_candidates);
  }
}

TEST(DeviceExpertChoice, TakesTheSameUnderEverySchedule) {
  support::random_source random(9);
  const support::random_choices choices(random, {200, 9, 4}, {support::adversary::ties, 0.1, true});
  expert_choice::options o;
  o.capacity = 80;
  const std::string of_all = chosen_by_host(choices.deltas(), o);
  const std::string of_candidates = chosen_by_host(choices.view(), o);
  simt::under_every_schedule([&] {
    EXPECT_TRUE(chosen_by_device(choices.deltas(), o) == of_all);
    EXPECT_TRUE(chosen_by_device(choices.view(), o) == of_candidates);
  });
}

// More keys than are sorted in shared memory, and more candidates than are staged there.
TEST(DeviceExpertChoice, TakesMoreThanFitsSharedMemory) {
  support::random_source random(3);
  const support::random_choices choices(random, {10000, 2, 2}, {support::adversary::mixed, 0.1, false});
  expert_choice::options o;
  for (const std::int64_t capacity : {100, 5000}) {
    o.capacity = capacity;
    EXPECT_TRUE(chosen_by_device(choices.deltas(), o) == chosen_by_host(choices.deltas(), o));
    EXPECT_TRUE(chosen_by_device(choices.view(), o) == chosen_by_host(choices.view(), o));
  }
}

TEST(DeviceExpertChoice, GivesEveryExpertItsOwnCapacityWithinTheColumns) {
  support::random_source random(4);
  const support::random_choices choices(random, {333, 6, 2}, {support::adversary::ties, 0.0, false});
  const std::vector<std::int64_t> capacities = {0, 1, 95, 77, 1000, -4};
  expert_choice::options o;
  o.capacity = 95;
  o.capacities = capacities.data();
  expect_as_host(choices.deltas(), o);
  expect_as_host(choices.view(), o);
}

TEST(DeviceExpertChoice, LooksAtTheTokensThatThereAre) {
  support::random_source random(5);
  const support::random_choices choices(random, {257, 13, 4});
  for (const std::int64_t tokens : {0, 1, 100, 257}) {
    matrix_view<const float> scores = choices.deltas();
    scores.rows = tokens;
    assignment_view candidates = choices.view();
    candidates.tokens = tokens;
    expert_choice::options o;
    o.capacity = 40;
    EXPECT_TRUE(chosen_by_device(choices.deltas(), o, &tokens) == chosen_by_host(scores, o)) << tokens;
    EXPECT_TRUE(chosen_by_device(choices.view(), o, &tokens) == chosen_by_host(candidates, o)) << tokens;
  }
}

TEST(DeviceExpertChoice, LeavesOutScoresThatNobodyAsksFor) {
  support::random_source random(6);
  const support::random_choices choices(random, {33, 13, 2});
  expert_choice::options o;
  o.capacity = 4;
  for (const bool of_candidates : {false, true}) {
    rows full(13, 4);
    rows ids_only(13, 4);
    const auto run = [&](const expert_choice::outputs& out) {
      exact_workspace workspace(of_candidates ? device_bytes(choices.view(), o) : device_bytes(choices.deltas(), o));
      EXPECT_TRUE(support::accepted(
          of_candidates ? expert_choice::device_expert_choice({}, choices.view(), o, out, workspace.view())
                        : expert_choice::device_expert_choice({}, choices.deltas(), o, out, workspace.view())));
    };
    run(full.view());
    run({ids_only.ids.data(), nullptr});
    EXPECT_EQ(support::values_of(ids_only.ids), support::values_of(full.ids));
  }
}

// The table is read once where its columns fit shared memory, and no more than four times beyond.
TEST(DeviceExpertChoice, ReadsTheScoresSeldom) {
  support::random_source random(7);
  for (const std::int64_t tokens : {1000, 4096}) {
    const std::int64_t experts = 16;
    guarded_buffer<float> values(static_cast<std::size_t>(tokens * experts));  // aligned to sectors
    for (float& value : values) value = static_cast<float>(random.normal());
    expert_choice::options o;
    o.capacity = tokens / 16;
    simt::reset_traffic();
    simt::config().count_traffic = true;
    chosen_by_device(matrix_view<const float>(values.data(), tokens, experts), o);
    simt::config().count_traffic = false;
    ASSERT_EQ(simt::traffic().launches.size(), 2u);
    const auto table = static_cast<std::uint64_t>(tokens * experts) * sizeof(float);
    const simt::access_counts& loads = simt::traffic().launches[0].loads;
    EXPECT_LE(loads.bytes, tokens == 1000 ? table : 4 * table);
    EXPECT_EQ(loads.sectors * 32, loads.bytes);
  }
}

class RefusedDeviceExpertChoice : public ::testing::Test {
 protected:
  RefusedDeviceExpertChoice() : random(8), choices(random, {33, 6, 2}) { o.capacity = 4; }

  template <class Source>
  void expect(const Source& source, status_code code, const std::string& argument) {
    exact_workspace workspace(1 << 16);
    EXPECT_TRUE(support::refused(expert_choice::device_expert_choice({}, source, o, outputs_given, workspace.view()),
                                 code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  support::random_source random;
  support::random_choices choices;
  expert_choice::options o;
  rows out{6, 4};
  expert_choice::outputs outputs_given = out.view();
};

TEST_F(RefusedDeviceExpertChoice, BadInputs) {
  matrix_view<const float> scores = choices.deltas();
  scores.data = nullptr;
  expect(scores, status_code::null_pointer, "scores");
  scores = choices.deltas();
  scores.cols = 0;
  expect(scores, status_code::out_of_range, "scores");
  scores = choices.deltas();
  scores.rows = std::int64_t{1} << 31;
  expect(scores, status_code::index_overflow, "scores");
  assignment_view candidates = choices.view();
  candidates.ids = nullptr;
  expect(candidates, status_code::null_pointer, "assignments.ids");
  candidates = choices.view();
  candidates.affinity = nullptr;
  expect(candidates, status_code::null_pointer, "candidates.affinity");
  candidates = choices.view();
  candidates.tokens = std::int64_t{1} << 30;
  candidates.slots_per_token = 4;
  expect(candidates, status_code::index_overflow, "assignments");
}

TEST_F(RefusedDeviceExpertChoice, BadCapacityAndOutputs) {
  o.capacity = 0;
  expect(choices.deltas(), status_code::out_of_range, "capacity");
  expect(choices.view(), status_code::out_of_range, "capacity");
  o.capacity = std::int64_t{1} << 62;
  expect(choices.deltas(), status_code::index_overflow, "capacity");
  expect(choices.view(), status_code::index_overflow, "capacity");
  o.capacity = 4;
  outputs_given.token_ids = nullptr;
  expect(choices.deltas(), status_code::null_pointer, "token_ids");
  expect(choices.view(), status_code::null_pointer, "token_ids");
}

TEST_F(RefusedDeviceExpertChoice, SmallWorkspace) {
  const auto refuse = [&](const auto& source) {
    const std::size_t bytes = device_bytes(source, o);
    exact_workspace small(bytes - 1);
    for (const workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}})
      EXPECT_TRUE(support::refused(expert_choice::device_expert_choice({}, source, o, outputs_given, workspace),
                                   status_code::workspace_too_small, "workspace"));
    EXPECT_TRUE(out.untouched() && small.untouched());
  };
  refuse(choices.deltas());
  refuse(choices.view());
}

}  // namespace

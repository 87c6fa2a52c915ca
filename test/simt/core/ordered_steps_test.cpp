// SPDX-License-Identifier: Apache-2.0
// Steps in one launch: every item once, each step on what the one before it wrote, whatever the order of the blocks.
#include <resonance/core/ordered_steps.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include <resonance/core/launch.cuh>
#include <resonance/core/vector_io.cuh>
#include <simt/environment.hpp>

namespace {

using namespace resonance;

struct three_steps {
  std::uint32_t items[3];
  unsigned* values[3];  // [items]
};

// An item of a step adds up the step before it; the first step writes its numbers, counted from 1.
template <class Steps>
RESONANCE_DEVICE void add_up(Steps& steps, const block_team& team, const three_steps& s) {
  for (int step = 0; step < 3; ++step) {
    steps.step(s.items[step], [&](std::uint32_t item) {
      unsigned own = step == 0 && team.rank() == 0 ? item + 1 : 0u;
      const std::uint32_t before = step == 0 ? 0 : s.items[step - 1];
      for (auto i = static_cast<std::uint32_t>(team.rank()); i < before; i += static_cast<std::uint32_t>(team.size()))
        own += load(s.values[step - 1] + i);
      const unsigned sum = team.sum(own);
      if (team.rank() == team.size() - 1) store(s.values[step] + item, sum);  // not by the thread that counts items
    });
  }
}

void kernel_in_order(three_steps s, unsigned* counters) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, words, block_team::scratch_words);
  const block_team team(words);
  ordered_steps steps(team, counters);
  add_up(steps, team, s);
}

void kernel_alone(three_steps s) {
  RESONANCE_SHARED_ARRAY(std::uint64_t, words, block_team::scratch_words);
  const block_team team(words);
  serial_steps steps;
  add_up(steps, team, s);
}

struct steps_case {
  std::vector<unsigned> values[3];
  three_steps view;

  explicit steps_case(const std::vector<std::uint32_t>& items) {
    for (std::size_t step = 0; step < 3; ++step) {
      values[step].assign(items[step], 0xdeadu);
      view.items[step] = items[step];
      view.values[step] = values[step].data();
    }
  }
  void expect_sums() const {
    std::vector<unsigned> before(values[0].size());
    std::iota(before.begin(), before.end(), 1u);
    EXPECT_EQ(values[0], before);
    for (int step = 1; step < 3; ++step) {
      const unsigned sum = std::accumulate(before.begin(), before.end(), 0u);
      before.assign(values[step].size(), sum);
      EXPECT_EQ(values[step], before) << "step " << step;
    }
  }
};

const std::vector<std::uint32_t> shapes[] = {{1, 1, 1}, {5, 3, 2}, {7, 1, 9}, {4, 0, 0}, {0, 3, 2}};

TEST(OrderedSteps, DoEveryItemOnceAndOneStepAfterTheOther) {
  for (const auto& items : shapes) {
    simt::under_every_schedule([&] {
      steps_case c(items);
      unsigned counters[ordered_steps::words] = {};
      device_stream on;
      const std::int64_t blocks = std::accumulate(items.begin(), items.end(), std::int64_t{0});
      ASSERT_TRUE(detail::launch(on, {blocks, 64, 0}, kernel_in_order, c.view, &counters[0]).ok());
      c.expect_sums();
      EXPECT_EQ(counters[0], blocks);
      EXPECT_EQ(counters[1], blocks);
    });
  }
}

TEST(SerialSteps, DoTheSameByOneBlock) {
  for (const auto& items : shapes) {
    simt::under_every_schedule([&] {
      steps_case c(items);
      device_stream on;
      ASSERT_TRUE(detail::launch(on, {1, 64, 0}, kernel_alone, c.view).ok());
      c.expect_sums();
    });
  }
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// Selection by a block in several lists at once, to a count and to a share of a weight, against sorting.
#include "resonance/core/block_select.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <simt/environment.hpp>
#include <vector>

#include "resonance/core/launch.cuh"
#include "resonance/core/vector_io.cuh"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

//! A key weighs its score's whole part, if that is above 0; the target is a share of the whole.
struct select_half_of_the_weight {
  static constexpr bool weighs = true;
  RESONANCE_DEVICE std::uint64_t weight(int, std::uint64_t key) const {
    const float score = score_of_key(packed_key(key));
    return score > 0.0f ? static_cast<std::uint64_t>(score) : 0;
  }
  RESONANCE_DEVICE std::uint64_t target(int, std::uint64_t, std::uint64_t total) const { return (total + 1) / 2; }
};

struct selection {
  std::uint64_t* thresholds;  // [lists]
  std::int64_t* taken;        // [lists]
  std::int64_t* visits;       // [lists, count]
};

//! One block, lists = columns of scores [count, lists].
template <int Lists, bool Weighs>
__global__ __launch_bounds__(512) void select_columns(const float* scores, std::int64_t count, int lists,
                                                      const std::int64_t* wanted, selection out) {
  using scratch = selection_scratch<Lists, Weighs>;
  RESONANCE_SHARED_ARRAY(scratch, s, 1);
  const auto key_at = [&](int list, std::uint32_t i) {
    return pack_key(order_key(load(scores + std::int64_t{i} * lists + list)), i);
  };
  const auto visit = [&](int list, std::uint64_t key) {
    std::int64_t* visits = out.visits + list * count + packed_index(key);
    store(visits, load(visits) + 1);
  };
  const visit_selected<decltype(visit)> selected{visit};
  if constexpr (Weighs) {
    block_select<Lists>(s[0], lists, count, key_at, select_half_of_the_weight{}, selected);
  } else {
    const auto wanted_of = [&](int list) { return wanted[list]; };
    block_select<Lists>(s[0], lists, count, key_at, select_count<decltype(wanted_of)>{wanted_of}, selected);
  }
  for (int list = block_thread(); list < lists; list += block_threads()) {
    store(out.thresholds + list, s[0].threshold(list));
    store(out.taken + list, static_cast<std::int64_t>(s[0].taken[list]));
  }
}

//! The choosable keys of a column, best first.
std::vector<std::uint64_t> sorted_column(const std::vector<float>& scores, int lists, int list) {
  std::vector<std::uint64_t> keys;
  for (std::size_t i = static_cast<std::size_t>(list), row = 0; i < scores.size(); i += static_cast<std::size_t>(lists))
    if (order_key(scores[i]) != never_chosen)
      keys.push_back(pack_key(order_key(scores[i]), static_cast<std::uint32_t>(row++)));
    else
      ++row;
  std::sort(keys.begin(), keys.end(), std::greater<std::uint64_t>());
  return keys;
}

std::size_t expected_taken(const std::vector<std::uint64_t>& best_first, bool weighs, std::int64_t wanted) {
  if (!weighs)
    return static_cast<std::size_t>(std::clamp<std::int64_t>(wanted, 0, static_cast<int>(best_first.size())));
  const select_half_of_the_weight goal;
  std::uint64_t total = 0;
  for (const std::uint64_t key : best_first) total += goal.weight(0, key);
  std::uint64_t sum = 0;
  std::size_t taken = 0;
  while (taken < best_first.size() && sum < goal.target(0, 0, total)) sum += goal.weight(0, best_first[taken++]);
  return taken;
}

std::uint64_t expected_threshold(const std::vector<std::uint64_t>& best_first, std::size_t taken, bool all) {
  if (all) return pack_key(never_chosen + 1, 0);
  return taken == 0 ? std::numeric_limits<std::uint64_t>::max() : best_first[taken - 1];
}

template <int Lists, bool Weighs>
void expect_selection(const std::vector<float>& scores, int lists, int threads,
                      const std::vector<std::int64_t>& wanted) {
  const auto count = static_cast<std::int64_t>(scores.size()) / lists;
  const auto columns = static_cast<std::size_t>(lists);
  guarded_buffer<std::uint64_t> thresholds(columns);
  guarded_buffer<std::int64_t> taken(columns);
  guarded_buffer<std::int64_t> visits(scores.size());
  std::fill(visits.begin(), visits.end(), 0);
  ASSERT_TRUE(
      support::accepted(detail::launch({}, {1, threads, 0}, select_columns<Lists, Weighs>, scores.data(), count, lists,
                                       wanted.data(), selection{thresholds.data(), taken.data(), visits.data()})));
  for (int list = 0; list < lists; ++list) {
    SCOPED_TRACE(::testing::Message() << "list " << list << " of " << lists << ", " << count << " entries, wanted "
                                      << wanted[static_cast<std::size_t>(list)] << ", " << threads << " threads");
    const std::vector<std::uint64_t> best_first = sorted_column(scores, lists, list);
    const std::int64_t own = wanted[static_cast<std::size_t>(list)];
    const std::size_t expected = expected_taken(best_first, Weighs, own);
    const bool all = !Weighs && own > 0 && own >= static_cast<std::int64_t>(best_first.size());
    EXPECT_EQ(taken[static_cast<std::size_t>(list)], static_cast<std::int64_t>(expected));
    EXPECT_EQ(thresholds[static_cast<std::size_t>(list)], expected_threshold(best_first, expected, all));
    std::vector<std::int64_t> expected_visits(static_cast<std::size_t>(count), 0);
    for (std::size_t k = 0; k < expected; ++k) expected_visits[packed_index(best_first[k])] = 1;
    const std::int64_t* own_visits = visits.data() + list * count;
    EXPECT_EQ(std::vector<std::int64_t>(own_visits, own_visits + count), expected_visits);
  }
  EXPECT_TRUE(thresholds.intact() && taken.intact() && visits.intact());
}

std::vector<std::int64_t> wanted_counts(support::random_source& random, int lists, std::int64_t count) {
  const std::vector<std::int64_t> choices = {-1,        0,     1,         count / 3,
                                             count - 1, count, count + 5, static_cast<std::int64_t>(random.below(100))};
  std::vector<std::int64_t> wanted;
  for (int list = 0; list < lists; ++list) wanted.push_back(random.pick(choices));
  return wanted;
}

//! Around the number of candidates that are gathered (64), and one with several digits of index.
const std::vector<std::int64_t> counts = {0, 1, 2, 63, 64, 65, 257, 700};

TEST(BlockSelect, TakesTheBestOfEightColumns) {
  simt::under_every_schedule([] {
    for (const std::int64_t count : counts) {
      for (const support::adversary kind : support::all_adversaries()) {
        support::random_source random(static_cast<std::uint64_t>(count) * 31 + static_cast<std::uint64_t>(kind));
        const int lists = static_cast<int>(random.between(1, 8));
        const auto scores = support::adversarial_values(random, static_cast<std::size_t>(count * lists), kind);
        expect_selection<8, false>(scores, lists, 128, wanted_counts(random, lists, count));
      }
    }
  });
}

TEST(BlockSelect, TakesTheBestOfOneListWithAnyNumberOfThreads) {
  for (const std::int64_t count : counts) {
    support::random_source random(static_cast<std::uint64_t>(count));
    for (const int threads : {32, 96, 512}) {
      const auto one = support::normal_values(random, static_cast<std::size_t>(count));
      expect_selection<1, false>(one, 1, threads, wanted_counts(random, 1, count));
    }
  }
}

TEST(BlockSelect, TellsEqualScoresByIndexInLongLists) {
  for (const std::int64_t wanted : {1, 255, 256, 257, 40000, 69999}) {
    const std::vector<float> constant(70000, 0.5F);
    expect_selection<1, false>(constant, 1, 256, {wanted});
  }
}

TEST(BlockSelect, TakesTheFewestThatReachAWeight) {
  simt::under_every_schedule([] {
    for (const std::int64_t count : counts) {
      for (const double scale : {0.1, 3.0, 1.0e6}) {
        support::random_source random(static_cast<std::uint64_t>(count));
        const int lists = static_cast<int>(random.between(1, 4));
        const auto scores = support::normal_values(random, static_cast<std::size_t>(count * lists), scale);
        expect_selection<4, true>(scores, lists, 64, std::vector<std::int64_t>(static_cast<std::size_t>(lists), 0));
      }
    }
  });
}

TEST(BlockSelect, KeysGiveTheirScoresBack) {
  for (const float score : {1.0F, -1.0F, 0.0F, 1e-45F, -1e-45F, 3.402823466e+38F, -3.402823466e+38F, 0.3F})
    EXPECT_EQ(score_of_key(order_key(score)), score);
}

}  // namespace

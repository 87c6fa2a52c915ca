// SPDX-License-Identifier: Apache-2.0
#include <resonance/offline/merge_statistics.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using offline::rank_report;
using offline::staleness_options;
using support::guarded_buffer;

constexpr std::size_t experts = 7;

//! Reports and the arrays that they point to.
struct reports {
  std::vector<std::vector<std::int64_t>> tokens;
  std::vector<std::vector<double>> updates;
  std::vector<rank_report> list;

  reports(support::random_source& random, std::size_t count) : tokens(count), updates(count), list(count) {
    for (std::size_t r = 0; r < count; ++r) {
      for (std::size_t e = 0; e < experts; ++e) {
        tokens[r].push_back(static_cast<std::int64_t>(random.below(1000)));
        updates[r].push_back(0.01 * random.normal());
      }
      list[r].rank = static_cast<std::int32_t>(5 * r) - 3;
      list[r].quality = random.uniform() + 0.1;
      list[r].staleness = static_cast<std::int64_t>(random.below(12));
      list[r].tokens_per_expert = tokens[r].data();
      list[r].bias_update = updates[r].data();
    }
  }
};

struct merged {
  guarded_buffer<double> tokens{experts}, update{experts}, weights;
  guarded_buffer<std::int32_t> admitted{1};
  explicit merged(std::size_t count) : weights(count) {}
  offline::merged_statistics view() { return {tokens.data(), update.data(), weights.data(), admitted.data()}; }
  bool untouched() const {
    return tokens.untouched() && update.untouched() && weights.untouched() && admitted.untouched();
  }
};

merged merge(const std::vector<rank_report>& list, const staleness_options& o) {
  const auto count = static_cast<std::int32_t>(list.size());
  merged out(list.size());
  support::exact_workspace space(offline::merge_statistics_workspace_bytes(count));
  EXPECT_TRUE(support::accepted(offline::merge_statistics(list.data(), count, experts, o, out.view(), space.view())));
  EXPECT_TRUE(space.intact() && out.tokens.intact() && out.update.intact() && out.weights.intact());
  return out;
}

TEST(MergeStatistics, IsTheWeightedMean) {
  support::random_source random(1);
  for (std::size_t count : {1, 2, 9, 40}) {
    const reports r(random, count);
    const merged out = merge(r.list, {0.7, 8});
    std::vector<double> weights;
    std::int32_t admitted = 0;
    for (const rank_report& report : r.list) {
      const bool enters = report.staleness <= 8;
      weights.push_back(enters ? report.quality * std::pow(0.7, static_cast<double>(report.staleness)) : 0.0);
      admitted += enters ? 1 : 0;
    }
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    EXPECT_EQ(out.admitted[0], admitted);
    if (admitted == 0) continue;
    EXPECT_NEAR(std::accumulate(out.weights.begin(), out.weights.end(), 0.0), 1.0, 1e-14);
    for (std::size_t i = 0; i < count; ++i) EXPECT_NEAR(out.weights[i], weights[i] / total, 1e-14);
    for (std::size_t e = 0; e < experts; ++e) {
      double tokens = 0, update = 0;
      for (std::size_t i = 0; i < count; ++i) {
        tokens += weights[i] * static_cast<double>(r.tokens[i][e]) / total;
        update += weights[i] * r.updates[i][e] / total;
      }
      EXPECT_NEAR(out.tokens[e], tokens, 1e-9);
      EXPECT_NEAR(out.update[e], update, 1e-14);
    }
  }
}

TEST(MergeStatistics, OfFreshEqualReportsIsThePlainMean) {
  support::random_source random(2);
  reports r(random, 6);
  for (rank_report& report : r.list) {
    report.quality = 1;
    report.staleness = 0;
  }
  const merged out = merge(r.list, {});
  for (std::size_t e = 0; e < experts; ++e) {
    std::int64_t sum = 0;
    for (const auto& tokens : r.tokens) sum += tokens[e];
    EXPECT_EQ(out.tokens[e], static_cast<double>(sum) / 6);
  }
  for (double weight : out.weights) EXPECT_EQ(weight, 1.0 / 6);
}

TEST(MergeStatistics, LeavesOutWhatIsTooStale) {
  support::random_source random(3);
  reports r(random, 5);
  for (std::size_t i = 0; i < 5; ++i) r.list[i].staleness = static_cast<std::int64_t>(i);
  const merged some = merge(r.list, {0.5, 2});
  EXPECT_EQ(some.admitted[0], 3);
  const merged alone = merge({r.list[0], r.list[1], r.list[2]}, {0.5, 2});
  EXPECT_EQ(support::bits_of(some.tokens, some.update), support::bits_of(alone.tokens, alone.update));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(some.weights[i] > 0, i <= 2) << i;
  for (rank_report& report : r.list) report.staleness = 100;
  const merged none = merge(r.list, {0.5, 2});
  EXPECT_EQ(none.admitted[0], 0);
  EXPECT_EQ(support::values_of(none.tokens), std::vector<double>(experts, 0.0));
  EXPECT_EQ(support::values_of(none.weights), std::vector<double>(5, 0.0));
}

TEST(MergeStatistics, HasTheSameBitsInWhateverOrderReportsCame) {
  support::random_source random(4);
  const reports r(random, 11);
  const merged first = merge(r.list, {0.9, 10});
  std::vector<rank_report> list = r.list;
  for (int turn = 0; turn < 20; ++turn) {
    for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random.below(i)]);
    const merged again = merge(list, {0.9, 10});
    EXPECT_EQ(support::bits_of(again.tokens, again.update), support::bits_of(first.tokens, first.update));
    for (std::size_t i = 0; i < list.size(); ++i)
      EXPECT_EQ(again.weights[i], first.weights[static_cast<std::size_t>((list[i].rank + 3) / 5)]);
  }
}

// Half as good counts half; a step of age costs the decay.
TEST(MergeStatistics, WeighsByQualityAndAge) {
  support::random_source random(5);
  reports r(random, 3);
  r.list[0].quality = 2;
  r.list[1].quality = 1;
  r.list[2].quality = 2;
  r.list[0].staleness = r.list[1].staleness = 0;
  r.list[2].staleness = 3;
  const merged out = merge(r.list, {0.5, 5});
  EXPECT_EQ(out.weights[0], 2 / 3.25);
  EXPECT_EQ(out.weights[1], 1 / 3.25);
  EXPECT_EQ(out.weights[2], 0.25 / 3.25);
}

TEST(MergeStatistics, OfNobodyIsZero) {
  merged out(0);
  ASSERT_TRUE(support::accepted(offline::merge_statistics(nullptr, 0, experts, {}, out.view(), {})));
  EXPECT_EQ(support::values_of(out.update), std::vector<double>(experts, 0.0));
  EXPECT_EQ(out.admitted[0], 0);
}

TEST(MergeStatistics, NamesTheBadArgumentAndWritesNothing) {
  support::random_source random(6);
  const reports good(random, 4);
  const double nan = std::nan("");
  const auto expect = [&](status_code code, const std::string& argument, const std::vector<rank_report>& list,
                          const staleness_options& o = {}, std::size_t missing_bytes = 0,
                          std::int32_t expert_count = experts) {
    merged out(4);
    support::exact_workspace space(offline::merge_statistics_workspace_bytes(4) - missing_bytes);
    EXPECT_TRUE(support::refused(
        offline::merge_statistics(list.empty() ? nullptr : list.data(), 4, expert_count, o, out.view(), space.view()),
        code, argument));
    EXPECT_TRUE(out.untouched()) << argument;
  };
  const auto spoiled = [&](const auto& spoil) {
    std::vector<rank_report> list = good.list;
    spoil(list[2]);
    return list;
  };
  expect(status_code::null_pointer, "reports", {});
  expect(status_code::out_of_range, "experts", good.list, {}, 0, 0);
  for (double decay : {0.0, -0.5, 1.5, nan}) expect(status_code::out_of_range, "decay", good.list, {decay, 3});
  expect(status_code::out_of_range, "limit", good.list, {0.5, -1});
  for (double quality : {-1.0, nan, std::numeric_limits<double>::infinity()})
    expect(status_code::out_of_range, "reports.quality", spoiled([&](rank_report& r) { r.quality = quality; }));
  expect(status_code::out_of_range, "reports.staleness", spoiled([](rank_report& r) { r.staleness = -1; }));
  expect(status_code::null_pointer, "reports.tokens_per_expert",
         spoiled([](rank_report& r) { r.tokens_per_expert = nullptr; }));
  expect(status_code::null_pointer, "reports.bias_update", spoiled([](rank_report& r) { r.bias_update = nullptr; }));
  const std::vector<std::int64_t> negative(experts, -1);
  expect(status_code::out_of_range, "reports.tokens_per_expert",
         spoiled([&](rank_report& r) { r.tokens_per_expert = negative.data(); }));
  std::vector<double> update(experts, 0.0);
  update[3] = nan;
  expect(status_code::out_of_range, "reports.bias_update",
         spoiled([&](rank_report& r) { r.bias_update = update.data(); }));
  expect(status_code::out_of_range, "reports.rank", spoiled([&](rank_report& r) { r.rank = good.list[0].rank; }));
  expect(status_code::workspace_too_small, "workspace", good.list, {}, 1);
}

}  // namespace

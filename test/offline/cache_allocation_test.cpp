// SPDX-License-Identifier: Apache-2.0
#include "resonance/offline/cache_allocation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

struct model {
  std::int32_t experts;
  std::vector<double> single_share, accuracy;

  model(support::random_source& random, std::size_t layers, std::int32_t n) : experts(n) {
    for (std::size_t l = 0; l < layers; ++l) {
      single_share.push_back(random.uniform());
      accuracy.push_back(l == 0 ? 0.0 : random.uniform());
    }
  }
  std::int32_t layers() const { return static_cast<std::int32_t>(single_share.size()); }
  offline::cache_layers view() const { return {layers(), experts, single_share.data(), accuracy.data()}; }
  double loads(const std::vector<std::int32_t>& slots) const {
    double sum = 0;
    for (std::size_t l = 0; l < slots.size(); ++l)
      sum += offline::expected_loads(slots[l], experts, single_share[l], accuracy[l]);
    return sum;
  }
};

struct allocation {
  std::vector<std::int32_t> slots;
  double loads;
};

allocation allocate(const model& m, std::int64_t budget) {
  guarded_buffer<std::int32_t> slots(m.single_share.size());
  guarded_buffer<double> loads(1);
  exact_workspace workspace(offline::allocate_cache_workspace_bytes(m.view(), budget));
  EXPECT_TRUE(
      support::accepted(offline::allocate_cache(m.view(), budget, slots.data(), loads.data(), workspace.view())));
  EXPECT_TRUE(slots.intact() && loads.intact() && workspace.intact());
  return {support::values_of(slots), loads[0]};
}

TEST(ExpectedLoads, AreTheKnownFigures) {
  const std::vector<double> known = {.85, .659375, .492857, .350446, .232143, .137946, .067857, .021875, 0};
  for (std::int32_t t = 0; t <= 8; ++t) {
    EXPECT_NEAR(offline::expected_loads(t, 8, .25, .9), known[static_cast<std::size_t>(t)], 5e-7) << t;
    EXPECT_NEAR(offline::expected_loads(t, 8, 0, 0), 2 * (1 - t / 8.0), 1e-15) << t;
  }
  EXPECT_EQ(offline::expected_loads(8, 8, .3, .4), 0.0);
  EXPECT_EQ(offline::expected_loads(9, 8, .3, .4), 0.0);
  EXPECT_EQ(offline::expected_loads(-1, 8, .3, .4), offline::expected_loads(0, 8, .3, .4));
}

// Every pair of choices, every one counted: what the formula says in closed form, for any N.
TEST(ExpectedLoads, AreTheMeanOverAllChoices) {
  support::random_source random(1);
  for (const std::int32_t experts : {2, 3, 8, 16, 60}) {
    const double r = random.uniform();
    const double a = random.uniform();
    for (std::int32_t cached = 0; cached <= experts; ++cached) {
      double one = 0;
      double two = 0;
      for (std::int32_t i = 0; i < experts; ++i) {
        one += i >= cached ? 1 - a : 0;
        for (std::int32_t j = 0; j < experts; ++j) {
          if (i == j) continue;
          const int missing = (i >= cached ? 1 : 0) + (j >= cached ? 1 : 0);
          // A right prefetch brings one of the missing in time; there is one outstanding prefetch.
          two += missing - (missing > 0 ? a : 0);
        }
      }
      const double expected = r * one / experts + (1 - r) * two / (experts * (experts - 1.0));
      EXPECT_NEAR(offline::expected_loads(cached, experts, r, a), expected, 1e-12) << experts << " " << cached;
    }
  }
}

TEST(CacheAllocation, IsTheBestOfAllWaysOnThreeLayers) {
  support::random_source random(2);
  for (const std::int32_t experts : {2, 4, 8}) {
    for (int turn = 0; turn < 5; ++turn) {
      const model m(random, 3, experts);
      for (std::int64_t budget = 3; budget <= 3 * experts; ++budget) {
        allocation best{{}, std::numeric_limits<double>::infinity()};
        for (std::int32_t i = 1; i <= experts; ++i)
          for (std::int32_t j = 1; j <= experts; ++j) {
            const auto k = static_cast<std::int32_t>(budget) - i - j;
            if (k >= 1 && k <= experts && m.loads({i, j, k}) < best.loads - 1e-12)
              best = {{i, j, k}, m.loads({i, j, k})};
          }
        const allocation got = allocate(m, budget);
        SCOPED_TRACE(::testing::Message() << "N=" << experts << " budget " << budget);
        EXPECT_EQ(got.slots, best.slots);
        EXPECT_NEAR(got.loads, best.loads, 1e-12);
      }
    }
  }
}

// Loads fall ever more slowly with the slots, so that giving the next slot where it helps most is right, too.
TEST(CacheAllocation, IsTheGreedyOneWhereLoadsAreConvex) {
  support::random_source random(3);
  const model m(random, 32, 8);
  for (const std::int64_t budget : {32, 64, 100, 128, 200, 256}) {
    std::vector<std::int32_t> slots(32, 1);
    for (std::int64_t spent = 32; spent < budget; ++spent) {
      std::size_t where = 0;
      double most = -1;
      for (std::size_t l = 0; l < 32; ++l) {
        const auto loads = [&](std::int32_t t) {
          return offline::expected_loads(t, 8, m.single_share[l], m.accuracy[l]);
        };
        if (slots[l] > 1) {
          EXPECT_LE(loads(slots[l]) - loads(slots[l] + 1), loads(slots[l] - 1) - loads(slots[l]) + 1e-12);
        }
        const double gain = loads(slots[l]) - loads(slots[l] + 1);
        if (slots[l] < 8 && gain > most) {
          most = gain;
          where = l;
        }
      }
      ++slots[where];
    }
    EXPECT_NEAR(allocate(m, budget).loads, m.loads(slots), 1e-12) << budget;
  }
}

TEST(CacheAllocation, HasNoUseForMoreThanAllExperts) {
  support::random_source random(4);
  const model m(random, 5, 8);
  const allocation got = allocate(m, std::int64_t{1} << 60);
  EXPECT_EQ(got.slots, std::vector<std::int32_t>(5, 8));
  EXPECT_EQ(got.loads, 0.0);
  EXPECT_EQ(allocate(m, 5).slots, std::vector<std::int32_t>(5, 1));
}

TEST(CacheAllocationErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(5);
  const model m(random, 3, 8);
  guarded_buffer<std::int32_t> slots(3);
  guarded_buffer<double> loads(1);
  exact_workspace workspace(offline::allocate_cache_workspace_bytes(m.view(), 12));
  const auto expect = [&](const offline::cache_layers& layers, std::int64_t budget, std::int32_t* out,
                          std::size_t bytes, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(
        offline::allocate_cache(layers, budget, out, loads.data(), {workspace.view().data, bytes}), code, argument));
    EXPECT_TRUE(slots.untouched() && loads.untouched() && workspace.untouched()) << argument;
  };
  const std::size_t bytes = workspace.view().bytes;
  offline::cache_layers bad = m.view();
  bad.layers = 0;
  expect(bad, 12, slots.data(), bytes, status_code::out_of_range, "layers");
  bad = m.view();
  bad.experts = 1;
  expect(bad, 12, slots.data(), bytes, status_code::out_of_range, "experts");
  bad = m.view();
  bad.single_share = nullptr;
  expect(bad, 12, slots.data(), bytes, status_code::null_pointer, "single_share");
  bad = m.view();
  bad.accuracy = nullptr;
  expect(bad, 12, slots.data(), bytes, status_code::null_pointer, "accuracy");
  expect(m.view(), 12, nullptr, bytes, status_code::null_pointer, "slots");
  expect(m.view(), 2, slots.data(), bytes, status_code::out_of_range, "budget");
  bad = m.view();
  bad.layers = bad.experts = INT32_MAX;
  expect(bad, std::int64_t{1} << 62, slots.data(), bytes, status_code::index_overflow, "budget");
  for (const double share : {-0.1, 1.1, std::nan("")}) {
    model broken = m;
    broken.single_share[2] = share;
    expect(broken.view(), 12, slots.data(), bytes, status_code::out_of_range, "single_share");
    broken = m;
    broken.accuracy[1] = share;
    expect(broken.view(), 12, slots.data(), bytes, status_code::out_of_range, "accuracy");
  }
  expect(m.view(), 12, slots.data(), bytes - 1, status_code::workspace_too_small, "workspace");
}

}  // namespace

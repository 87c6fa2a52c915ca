// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/executor.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "support/executors.hpp"

namespace {

namespace detail = resonance::detail;

TEST(SerialExecutor, RunsInOrder) {
  std::vector<int> order;
  resonance::serial_executor{}.run(4, [&](int i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(resonance::serial_executor{}.workers(), 1);
}

TEST(Executors, CallEachIndexOnce) {
  support::with_every_executor([](const auto& executor, const char* name) {
    for (int count : {0, 1, 2, 7, 100}) {
      const auto calls = std::make_unique<std::atomic<int>[]>(101);
      executor.run(count, [&](int i) { ++calls[static_cast<size_t>(i)]; });
      for (int i = 0; i <= 100; ++i) ASSERT_EQ(calls[static_cast<size_t>(i)], i < count ? 1 : 0) << name << ' ' << i;
    }
    EXPECT_GE(executor.workers(), 1) << name;
  });
}

TEST(PieceBegin, CutsIntoPiecesThatDifferByOneAtMost) {
  for (std::int64_t count : {std::int64_t{1}, std::int64_t{7}, std::int64_t{16}, std::int64_t{1} << 40})
    for (int pieces = 1; pieces <= 7; ++pieces) {
      EXPECT_EQ(detail::piece_begin(count, pieces, 0), 0);
      EXPECT_EQ(detail::piece_begin(count, pieces, pieces), count);
      for (int i = 0; i < pieces; ++i) {
        const std::int64_t length = detail::piece_begin(count, pieces, i + 1) - detail::piece_begin(count, pieces, i);
        EXPECT_TRUE(length == count / pieces || length == count / pieces + 1) << length;
      }
    }
}

TEST(PieceCount, GivesEachWorkerAtLeastAGrainOrOneWorkerAll) {
  const support::reverse_executor four(4);
  EXPECT_EQ(detail::piece_count(four, 15, 16), 1);
  EXPECT_EQ(detail::piece_count(four, 16, 16), 1);
  EXPECT_EQ(detail::piece_count(four, 32, 16), 2);
  EXPECT_EQ(detail::piece_count(four, 1000, 16), 4);
  EXPECT_EQ(detail::piece_count(four, 0, 16), 1);
  EXPECT_EQ(detail::piece_count(four, std::int64_t{1} << 50, 1), 4);
}

TEST(PieceCount, DoesNotSplitGroupsThatShareLittle) {
  const support::reverse_executor four(4);
  const auto pieces = [&](std::int64_t groups, std::int64_t items) {
    return detail::piece_count(four, groups, detail::grain_of_groups(groups, items, 100));
  };
  EXPECT_EQ(pieces(64, 0), 1);
  EXPECT_EQ(pieces(64, 199), 1);
  EXPECT_EQ(pieces(64, 200), 2);
  EXPECT_EQ(pieces(64, 1000), 4);
  EXPECT_EQ(pieces(3, 1000), 3);
  EXPECT_EQ(pieces(1, 1000), 1);
}

struct source_of_experts {
  static constexpr int block = 8;
  std::int32_t count;
  std::int32_t experts() const { return count; }
};

struct source_of_steps : source_of_experts {
  std::int64_t steps;
  std::int64_t steps_per_token() const { return steps; }
};

TEST(TokenGrain, IsSmallerTheMoreATokenTakesAndWholeBatches) {
  EXPECT_EQ(detail::token_grain(source_of_experts{128}), 256);
  EXPECT_EQ(detail::token_grain(source_of_experts{1}), 32768);
  EXPECT_EQ(detail::token_grain(source_of_experts{100}), 320);
  EXPECT_EQ(detail::token_grain(source_of_experts{100000}), 16);
  EXPECT_EQ(detail::token_grain(source_of_steps{{128}, 512}), 64);
  EXPECT_EQ(detail::token_grain(source_of_steps{{128}, 4096 * 128}), 16);
  EXPECT_EQ(detail::token_grain(source_of_steps{{128}, 0}), 32768);
}

struct source_of_blocks_of_five : source_of_experts {
  static constexpr int block = 5;
};

struct source_of_large_blocks : source_of_experts {
  static constexpr int block = 48;
};

TEST(TokenGrain, IsWholeBlocks) {
  EXPECT_EQ(detail::token_grain(source_of_blocks_of_five{{100000}}), 15);
  EXPECT_EQ(detail::token_grain(source_of_blocks_of_five{{1000}}), 30);
  EXPECT_EQ(detail::token_grain(source_of_large_blocks{{100000}}), 48);
  EXPECT_EQ(detail::token_grain(source_of_large_blocks{{512}}), 48);
}

TEST(WorkerCount, IsAtLeastOne) {
  EXPECT_EQ(detail::worker_count(support::reverse_executor(0)), 1);
  EXPECT_EQ(detail::worker_count(support::reverse_executor(-3)), 1);
  EXPECT_EQ(detail::worker_count(support::reverse_executor(3)), 3);
}

TEST(ForPieces, CoversEveryItemOnceEachPieceOnce) {
  support::with_every_executor([](const auto& executor, const char* name) {
    for (std::int64_t count : {0, 1, 3, 31, 64, 1000}) {
      std::vector<std::atomic<int>> visits(1000);
      std::vector<std::atomic<int>> uses(static_cast<size_t>(executor.workers()));
      detail::for_pieces(executor, count, 8, [&](std::int64_t begin, std::int64_t end, int piece) {
        ++uses.at(static_cast<size_t>(piece));
        for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
      });
      for (std::int64_t i = 0; i < 1000; ++i) ASSERT_EQ(visits[static_cast<size_t>(i)], i < count ? 1 : 0) << name;
      const int pieces = count > 0 ? detail::piece_count(executor, count, 8) : 0;
      for (int piece = 0; piece < executor.workers(); ++piece)
        ASSERT_EQ(uses[static_cast<size_t>(piece)], piece < pieces ? 1 : 0) << name;
    }
  });
}

TEST(ForRanges, CoversEveryItemOnceInRangesThatBeginAtMultiplesOfTheGrain) {
  support::with_every_executor([](const auto& executor, const char* name) {
    for (std::int64_t count : {0, 1, 3, 31, 64, 1000}) {
      std::vector<std::atomic<int>> visits(1000);
      std::vector<std::atomic<int>> under_way(static_cast<size_t>(executor.workers()));
      detail::for_ranges(executor, count, 8, [&](std::int64_t begin, std::int64_t end, int worker) {
        EXPECT_EQ(under_way.at(static_cast<size_t>(worker))++, 0) << name;
        EXPECT_EQ(begin % 8, 0) << name;
        EXPECT_LT(begin, end) << name;
        for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
        --under_way[static_cast<size_t>(worker)];
      });
      for (std::int64_t i = 0; i < 1000; ++i) ASSERT_EQ(visits[static_cast<size_t>(i)], i < count ? 1 : 0) << name;
    }
  });
}

//! Lets the first worker take nothing until the others have returned, as if its thread had been late.
struct late_first_executor {
  int workers() const { return 3; }
  template <class F>
  void run(int count, F&& f) const {
    for (int i = 1; i < count; ++i) f(i);
    f(0);
  }
};

TEST(ForRanges, LeavesNothingToAWorkerThatComesLate) {
  std::vector<int> ranges(3);
  detail::for_ranges(late_first_executor{}, 1000, 1,
                     [&](std::int64_t, std::int64_t, int worker) { ++ranges[static_cast<size_t>(worker)]; });
  EXPECT_EQ(ranges[0], 0);
  EXPECT_GE(ranges[1], 16) << "several ranges per worker, or those that come late are waited for";
}

TEST(ForRanges, DoesNotWakeTheExecutorForOnePiece) {
  struct refusing {
    int workers() const { return 8; }
    void run(int, const std::function<void(int)>&) const { ADD_FAILURE() << "run was called"; }
  };
  int calls = 0;
  detail::for_ranges(refusing{}, 10, 8, [&](std::int64_t begin, std::int64_t end, int piece) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 10);
    EXPECT_EQ(piece, 0);
  });
  EXPECT_EQ(calls, 1);
}

}  // namespace

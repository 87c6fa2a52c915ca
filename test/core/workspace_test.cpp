// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/workspace.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "support/poison.hpp"

namespace {

using resonance::workspace_view;
using resonance::detail::workspace_carver;

struct pieces {
  char* a;
  double* b;
  std::int32_t* c;
};

pieces carve(workspace_carver& carver) {
  pieces p;
  p.a = carver.take<char>(3);
  p.b = carver.take<double>(9);
  p.c = carver.take<std::int32_t>(16);
  return p;
}

TEST(WorkspaceCarver, CountsOnANullBase) {
  workspace_carver counter;
  const pieces none = carve(counter);
  EXPECT_EQ(none.a, nullptr);
  EXPECT_EQ(none.b, nullptr);
  EXPECT_EQ(none.c, nullptr);
  EXPECT_EQ(counter.bytes(), 64U + 128U + 64U + 63U);
}

TEST(WorkspaceCarver, AsksForNothingWhereNothingIsTaken) {
  workspace_carver counter;
  counter.take<double>(0);
  EXPECT_EQ(counter.bytes(), 0U);
}

TEST(WorkspaceCarver, HandsOutAlignedPiecesInsideTheAnsweredBytesFromAnyBase) {
  workspace_carver counter;
  carve(counter);
  for (std::size_t misalignment = 0; misalignment < 64; ++misalignment) {
    support::guarded_buffer<char> memory(counter.bytes(), misalignment);
    workspace_carver carver(memory.data());
    const pieces p = carve(carver);
    EXPECT_EQ(carver.bytes(), counter.bytes());
    for (const void* piece :
         {static_cast<const void*>(p.a), static_cast<const void*>(p.b), static_cast<const void*>(p.c)})
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % 64, 0U);
    EXPECT_GE(reinterpret_cast<char*>(p.b), p.a + 3);
    EXPECT_GE(reinterpret_cast<char*>(p.c), reinterpret_cast<char*>(p.b + 9));
    std::memset(p.a, 0, 3);
    std::memset(p.b, 0, 9 * sizeof(double));
    std::memset(p.c, 0, 16 * sizeof(std::int32_t));
    EXPECT_TRUE(memory.intact()) << misalignment;
  }
}

TEST(CheckWorkspace, WantsEnoughBytesAndAPointer) {
  char memory[8];
  const auto check = [](void* data, std::size_t bytes, std::size_t needed) {
    return resonance::detail::check_workspace(workspace_view{data, bytes}, needed);
  };
  EXPECT_TRUE(check(nullptr, 0, 0).ok());
  EXPECT_TRUE(check(memory, 8, 8).ok());
  for (const resonance::status& refused : {check(nullptr, 8, 8), check(memory, 7, 8)}) {
    EXPECT_EQ(refused.code, resonance::status_code::workspace_too_small);
    EXPECT_EQ(std::string(refused.argument), "workspace");
  }
}

}  // namespace

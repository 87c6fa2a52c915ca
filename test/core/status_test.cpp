// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/status.hpp>

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

using resonance::status;
using resonance::status_code;
using resonance::detail::checks;

TEST(Status, IsOkByDefault) {
  constexpr status fine;
  static_assert(fine.ok() && static_cast<bool>(fine), "usable in constant expressions");
  EXPECT_STREQ(fine.argument, "");
  const status bad{status_code::out_of_range, "top_k"};
  EXPECT_FALSE(bad.ok());
  EXPECT_FALSE(static_cast<bool>(bad));
}

TEST(Status, ComparesByCode) {
  EXPECT_EQ((status{status_code::out_of_range, "a"}), (status{status_code::out_of_range, "b"}));
  EXPECT_NE((status{status_code::out_of_range, "a"}), (status{status_code::null_pointer, "a"}));
}

TEST(Status, HasASentenceForEveryCode) {
  std::set<std::string> sentences;
  for (status_code code : {status_code::ok, status_code::null_pointer, status_code::out_of_range,
                           status_code::shape_mismatch, status_code::index_overflow, status_code::workspace_too_small})
    sentences.insert(status{code, ""}.message());
  EXPECT_EQ(sentences.size(), 6U);
  EXPECT_EQ(sentences.count("unknown status"), 0U);
  EXPECT_STREQ((status{static_cast<status_code>(99), ""}.message()), "unknown status");
}

TEST(Checks, TheFirstFailureWins) {
  const status result = checks{}
                            .in_range(true, "a")
                            .matches(false, "b")
                            .in_range(false, "c")
                            .also({status_code::null_pointer, "d"})
                            .result();
  EXPECT_EQ(result.code, status_code::shape_mismatch);
  EXPECT_STREQ(result.argument, "b");
}

TEST(Checks, EachGivesItsCode) {
  int value = 0;
  EXPECT_EQ(checks{}.present(nullptr, true, "p").result().code, status_code::null_pointer);
  EXPECT_TRUE(checks{}.present(nullptr, false, "p").present(&value, true, "p").result().ok());
  EXPECT_EQ(checks{}.in_range(false, "p").result().code, status_code::out_of_range);
  EXPECT_EQ(checks{}.matches(false, "p").result().code, status_code::shape_mismatch);
  EXPECT_EQ(checks{}.fits(false, "p").result().code, status_code::index_overflow);
  EXPECT_EQ(checks{}.also({status_code::workspace_too_small, "w"}).result().code, status_code::workspace_too_small);
  EXPECT_TRUE(checks{}.in_range(true, "p").matches(true, "p").fits(true, "p").also({}).result().ok());
}

}  // namespace

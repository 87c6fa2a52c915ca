// SPDX-License-Identifier: Apache-2.0
#include <resonance/core/policy.hpp>

#include <gtest/gtest.h>

namespace {

struct of_merge {
  using stage = resonance::stages::merge;
};
struct derived : of_merge {};
struct without_stage {};

TEST(Policy, BelongsToTheStageItNamesOnly) {
  using resonance::detail::is_policy_of;
  EXPECT_TRUE((is_policy_of<of_merge, resonance::stages::merge>));
  EXPECT_TRUE((is_policy_of<derived, resonance::stages::merge>));
  EXPECT_FALSE((is_policy_of<of_merge, resonance::stages::affinity>));
  EXPECT_FALSE((is_policy_of<of_merge, resonance::stages::capacity>));
  EXPECT_FALSE((is_policy_of<without_stage, resonance::stages::merge>));
  EXPECT_FALSE((is_policy_of<int, resonance::stages::merge>));
}

}  // namespace

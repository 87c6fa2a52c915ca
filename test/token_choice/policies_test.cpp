// SPDX-License-Identifier: Apache-2.0
#include <resonance/token_choice/policies.hpp>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace token_choice = resonance::token_choice;
using resonance::status_code;

void expect(const resonance::status& result, status_code code, const char* argument) {
  EXPECT_EQ(result.code, code) << argument;
  EXPECT_EQ(std::string(result.argument), argument);
}

TEST(Options, WantOneToEChoicesAndAFiniteFactor) {
  token_choice::options o;
  expect(o.check(1), status_code::ok, "");
  for (std::int32_t k : {0, -1, 9}) {
    o.top_k = k;
    expect(o.check(8), status_code::out_of_range, "top_k");
  }
  o.top_k = 8;
  expect(o.check(8), status_code::ok, "");
  using limits = std::numeric_limits<float>;
  for (float factor : {limits::quiet_NaN(), limits::infinity(), -limits::infinity()}) {
    o.routed_scaling_factor = factor;
    expect(o.check(8), status_code::out_of_range, "routed_scaling_factor");
  }
  for (float factor : {FLT_MAX, -FLT_MAX, 0.0F, -2.5F}) {
    o.routed_scaling_factor = factor;
    expect(o.check(8), status_code::ok, "");
  }
}

TEST(GroupedTopK, WantsGroupsThatDivideTheExperts) {
  const token_choice::options o;
  const auto check = [&](std::int32_t groups, std::int32_t kept) {
    token_choice::grouped_top_k policy;
    policy.n_group = groups;
    policy.topk_group = kept;
    return policy.check(12, o);
  };
  for (std::int32_t groups : {1, 2, 3, 4, 6, 12}) expect(check(groups, groups), status_code::ok, "");
  for (std::int32_t groups : {0, -1, 5, 13, 24}) expect(check(groups, 1), status_code::out_of_range, "n_group");
  for (std::int32_t kept : {0, -1, 5}) expect(check(4, kept), status_code::out_of_range, "topk_group");
}

TEST(TopP, WantsAShareAboveZero) {
  const token_choice::options o;
  for (double p : {1e-300, 0.5, 1.0}) expect(token_choice::top_p{p}.check(4, o), status_code::ok, "");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (double p : {0.0, -0.5, 1.0000001, HUGE_VAL, nan})
    expect(token_choice::top_p{p}.check(4, o), status_code::out_of_range, "top_p");
}

TEST(RankSet, WantsRisingRanksBelowE) {
  const auto check = [](const std::vector<std::int32_t>& ranks) {
    token_choice::options o;
    o.top_k = static_cast<std::int32_t>(ranks.size());
    return token_choice::rank_set{ranks.data()}.check(6, o);
  };
  expect(check({0}), status_code::ok, "");
  expect(check({1, 3, 5}), status_code::ok, "");
  for (const std::vector<std::int32_t>& ranks :
       std::vector<std::vector<std::int32_t>>{{-1}, {6}, {0, 0}, {2, 1}, {0, 1, 6}, {INT32_MIN, 1}, {0, INT32_MAX}})
    expect(check(ranks), status_code::out_of_range, "ranks");
  expect(token_choice::rank_set{}.check(6, token_choice::options{}), status_code::null_pointer, "ranks");
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include <resonance/token_choice/host_weights.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "affinity/reference_score.hpp"
#include "affinity/typed_rows.hpp"
#include "reference/token_choice.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"
#include "token_choice/choice_reference.hpp"
#include "token_choice/weights_reference.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;
using reference_score::random_delta;
using resonance::assignment_view;
using resonance::matrix_view;
using resonance::status_code;
using weights_reference::ragged_list;

template <class Score>
std::vector<float> run(const support::any_executor& executor, const std::vector<float>& delta, const assignment_view& a,
                       const Score& score, const token_choice::options& o) {
  support::guarded_buffer<float> weights(static_cast<std::size_t>(a.slots()));
  support::guarded_buffer<char> workspace(token_choice::host_weights_workspace_bytes(executor, a.experts), 1);
  const resonance::status result =
      token_choice::host_weights(executor, matrix_view<const float>(delta.data(), a.tokens, a.experts), a, score, o,
                                 weights.data(), {workspace.data(), workspace.size()});
  EXPECT_TRUE(result.ok()) << result.argument << ' ' << result.message();
  EXPECT_TRUE(weights.intact() && workspace.intact());
  return {weights.begin(), weights.end()};
}

template <class Score>
class HostWeights : public ::testing::Test {};
TYPED_TEST_SUITE(HostWeights, reference_score::all, reference_score::names);

TYPED_TEST(HostWeights, GivesTokenChoicesOwnBitsForItsOwnSlots) {
  support::random_source random(81);
  for (std::size_t experts : {1, 6, 72, 257})
    for (bool renormalize : {false, true}) {
      const std::vector<float> logits = random_delta(random, 33 * experts);
      token_choice::options o;
      o.top_k = static_cast<std::int32_t>(experts < 8 ? experts : 8);
      o.renormalize = renormalize;
      o.routed_scaling_factor = 2.5F;
      TypeParam score;
      score.temperature = 1.3F;
      auto chosen = choice_reference::run(support::serial(), choice_reference::logits_source(logits, 33, experts),
                                          score, token_choice::top_k{}, o);
      const assignment_view a =
          resonance::as_assignments(resonance::choice_buffers{chosen.ids.data(), chosen.weights.data(), nullptr}, 33,
                                    static_cast<std::int32_t>(experts), o.top_k);
      EXPECT_TRUE(typed_rows::same_bits(run(support::serial(), chosen.delta, a, score, o), chosen.weights));
    }
}

TYPED_TEST(HostWeights, WeighsARaggedListLikeTheReference) {
  support::random_source random(82);
  const TypeParam score;
  for (std::size_t tokens : {0, 1, 7, 33, 257})
    for (bool renormalize : {false, true})
      weights_reference::expect_reference(random, tokens, score, renormalize,
                                          [&](const auto& delta, const assignment_view& a, const auto& o) {
                                            return run(support::serial(), delta, a, score, o);
                                          });
}

//! lowest_ids fills slots with valid ids that token choice did not choose: they weigh nothing here either.
TYPED_TEST(HostWeights, GivesNothingToAFilledSlot) {
  support::random_source random(84);
  const std::vector<float> logits = support::normal_values(random, 33 * 13, 2);
  token_choice::options o;
  o.top_k = 8;
  o.missing = token_choice::missing_choice::lowest_ids;
  auto chosen = choice_reference::run(support::serial(), choice_reference::logits_source(logits, 33, 13), TypeParam{},
                                      token_choice::top_p{0.6}, o);
  const assignment_view a = resonance::as_assignments(
      resonance::choice_buffers{chosen.ids.data(), chosen.weights.data(), chosen.affinity.data()}, 33, 13, o.top_k);
  EXPECT_TRUE(typed_rows::same_bits(run(support::serial(), chosen.delta, a, TypeParam{}, o), chosen.weights));
}

TYPED_TEST(HostWeights, HasTheSameBitsOnEveryExecutor) {
  support::random_source random(83);
  const ragged_list list(random, 301, 13);
  const std::vector<float> delta = random_delta(random, 301 * 13);
  const token_choice::options o;
  const std::vector<float> serial = run(support::serial(), delta, list.view, TypeParam{}, o);
  support::with_every_executor([&](const auto& executor, const char* name) {
    EXPECT_TRUE(typed_rows::same_bits(run(executor, delta, list.view, TypeParam{}, o), serial)) << name;
  });
}

TEST(HostWeightsErrors, NameTheArgumentAndWriteNothing) {
  const std::vector<float> delta(12, 1.0F);
  std::vector<std::int32_t> ids = {0, 1, 2};
  support::guarded_buffer<float> weights(3);
  support::guarded_buffer<char> workspace(1024);
  assignment_view good;
  good.tokens = 3;
  good.experts = 4;
  good.slots_per_token = 1;
  good.ids = ids.data();
  const auto expect = [&](status_code code, const char* argument, matrix_view<const float> matrix,
                          const assignment_view& a, const affinity::softmax& score, const token_choice::options& o,
                          float* out, std::size_t bytes) {
    const resonance::status result =
        token_choice::host_weights(support::serial(), matrix, a, score, o, out, {workspace.data(), bytes});
    EXPECT_EQ(result.code, code) << argument << ": " << result.argument;
    EXPECT_EQ(std::string(result.argument), argument);
    EXPECT_TRUE(weights.untouched() && workspace.untouched()) << argument;
  };
  const matrix_view<const float> matrix(delta.data(), 3, 4);
  const token_choice::options o;
  expect(status_code::null_pointer, "affinity", {nullptr, 3, 4}, good, {}, o, weights.data(), 1024);
  expect(status_code::shape_mismatch, "affinity", {delta.data(), 2, 4}, good, {}, o, weights.data(), 1024);
  expect(status_code::shape_mismatch, "affinity", {delta.data(), 3, 3}, good, {}, o, weights.data(), 1024);
  assignment_view bad = good;
  bad.ids = nullptr;
  expect(status_code::null_pointer, "assignments.ids", matrix, bad, {}, o, weights.data(), 1024);
  bad = good;
  bad.experts = 0;
  expect(status_code::out_of_range, "assignments.experts", matrix, bad, {}, o, weights.data(), 1024);
  affinity::softmax cold;
  cold.temperature = 0.0F;
  expect(status_code::out_of_range, "temperature", matrix, good, cold, o, weights.data(), 1024);
  token_choice::options scaled;
  scaled.routed_scaling_factor = std::numeric_limits<float>::infinity();
  expect(status_code::out_of_range, "routed_scaling_factor", matrix, good, {}, scaled, weights.data(), 1024);
  expect(status_code::null_pointer, "weights", matrix, good, {}, o, nullptr, 1024);
  const std::size_t needed = token_choice::host_weights_workspace_bytes(support::serial(), 4);
  expect(status_code::workspace_too_small, "workspace", matrix, good, {}, o, weights.data(), needed - 1);
}

}  // namespace

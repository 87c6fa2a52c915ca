// SPDX-License-Identifier: Apache-2.0
// What host_token_choice refuses: a status that names the argument, and nothing written.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/token_choice/host_token_choice.hpp>

#include "support/executors.hpp"
#include "support/poison.hpp"

namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;
using resonance::matrix_view;
using resonance::status_code;

class HostTokenChoiceErrors : public ::testing::Test {
 protected:
  HostTokenChoiceErrors()
      : logits(7 * 6, 1.0F), ids(7 * 2), weights(7 * 2), slot_affinity(7 * 2), delta(7 * 6), workspace(8192) {
    o.top_k = 2;
    out = {ids.data(), weights.data(), slot_affinity.data()};
    input.logits = {logits.data(), 7, 6};
  }

  template <class Score, class Selection>
  void expect(status_code code, const char* argument, const Score& score, const Selection& selection,
              std::size_t bytes = 8192) {
    const affinity::host_source<affinity::logits, affinity::logits_input<float>> source({}, input);
    const resonance::status result = token_choice::host_token_choice(support::serial(), source, score, selection, o,
                                                                     out, matrix, {workspace.data(), bytes});
    EXPECT_EQ(result.code, code) << argument << ": " << result.argument << ' ' << result.message();
    EXPECT_EQ(std::string(result.argument), argument);
    EXPECT_TRUE(ids.untouched() && weights.untouched() && slot_affinity.untouched() && delta.untouched() &&
                workspace.untouched())
        << argument;
  }
  void expect(status_code code, const char* argument) {
    expect(code, argument, affinity::softmax{}, token_choice::top_k{});
  }

  std::vector<float> logits;
  support::guarded_buffer<std::int32_t> ids;
  support::guarded_buffer<float> weights, slot_affinity, delta;
  support::guarded_buffer<char> workspace;
  token_choice::options o;
  resonance::choice_buffers out;
  matrix_view<float> matrix;
  affinity::logits_input<float> input;
};

TEST_F(HostTokenChoiceErrors, NameTheArgumentAndWriteNothing) {
  for (std::int32_t k : {0, -1, 7}) {
    o.top_k = k;
    expect(status_code::out_of_range, "top_k");
  }
  o.top_k = 2;
  o.routed_scaling_factor = std::numeric_limits<float>::quiet_NaN();
  expect(status_code::out_of_range, "routed_scaling_factor");
  o.routed_scaling_factor = 1.0F;
  affinity::softmax score;
  score.temperature = -1.0F;
  expect(status_code::out_of_range, "temperature", score, token_choice::top_k{});
  score.temperature = 1.0F;
  score.logit_cap = std::numeric_limits<float>::quiet_NaN();
  expect(status_code::out_of_range, "logit_cap", score, token_choice::top_k{});
  token_choice::grouped_top_k groups;
  groups.n_group = 4;
  expect(status_code::out_of_range, "n_group", affinity::softmax{}, groups);
  groups.n_group = 3;
  groups.topk_group = 4;
  expect(status_code::out_of_range, "topk_group", affinity::softmax{}, groups);
  expect(status_code::out_of_range, "top_p", affinity::softmax{}, token_choice::top_p{0.0});
  expect(status_code::out_of_range, "above", affinity::softmax{},
         token_choice::threshold{std::numeric_limits<float>::infinity()});
  expect(status_code::out_of_range, "above", affinity::softmax{}, token_choice::threshold{std::nanf("")});
  expect(status_code::null_pointer, "ranks", affinity::softmax{}, token_choice::rank_set{});
  const std::int32_t ranks[] = {2, 2};
  expect(status_code::out_of_range, "ranks", affinity::softmax{}, token_choice::rank_set{ranks});

  out.topk_ids = nullptr;
  expect(status_code::null_pointer, "topk_ids");
  out.topk_ids = ids.data();
  matrix = {delta.data(), 7, 5};
  expect(status_code::shape_mismatch, "affinity");
  matrix = {delta.data(), 6, 6};
  expect(status_code::shape_mismatch, "affinity");
  matrix = {delta.data(), 7, 6, 5};
  expect(status_code::out_of_range, "affinity");
  matrix = {};
  input.logits.data = nullptr;
  expect(status_code::null_pointer, "logits");
  input.logits = {logits.data(), 7, 0};
  expect(status_code::out_of_range, "logits");
  input.logits = {logits.data(), 7, 6};
  const affinity::host_source<affinity::logits, affinity::logits_input<float>> source({}, input);
  const std::size_t needed = token_choice::host_token_choice_workspace_bytes(support::serial(), source);
  ASSERT_GT(needed, 0U);
  ASSERT_LE(needed, 8192U);
  expect(status_code::workspace_too_small, "workspace", affinity::softmax{}, token_choice::top_k{}, needed - 1);
}

}  // namespace

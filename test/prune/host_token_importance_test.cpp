// SPDX-License-Identifier: Apache-2.0
#include "resonance/prune/host_token_importance.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "prune/importance_reference.hpp"
#include "resonance/core/row_type.hpp"
#include "resonance/prune/host_protect_tokens.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using importance_reference::causal_attention;
using permute_test::stored_rows;
using support::exact_workspace;
using support::guarded_buffer;

template <class Row, class Attention>
guarded_buffer<float> run(const stored_rows<Row>& hidden, const stored_rows<Attention>& attention,
                          const support::any_executor& executor = support::serial()) {
  guarded_buffer<float> importance(static_cast<std::size_t>(hidden.rows));
  exact_workspace workspace(prune::host_token_importance_workspace_bytes(hidden.rows));
  EXPECT_TRUE(support::accepted(
      prune::host_token_importance(executor, hidden.read(), attention.read(), importance.data(), workspace.view())));
  EXPECT_TRUE(importance.intact() && workspace.intact());
  return importance;
}

template <class Row>
class HostTokenImportance : public ::testing::Test {};
TYPED_TEST_SUITE(HostTokenImportance, permute_test::row_types, );

TYPED_TEST(HostTokenImportance, AgreesWithTheReferenceOnEveryExecutor) {
  support::random_source random(1);
  for (const std::int64_t tokens : {0, 1, 2, 33, 255, 256, 257, 700}) {
    SCOPED_TRACE(tokens);
    stored_rows<TypeParam> hidden(tokens, 19, 3, 1);
    hidden.fill_normal(random);
    const auto attention = causal_attention<TypeParam>(random, tokens, 5);
    const auto got = run(hidden, attention);
    const auto expected = importance_reference::importance(hidden.widened(), attention.widened());
    for (std::size_t t = 0; t < expected.size(); ++t) EXPECT_NEAR(got[t], expected[t], 1e-6 * expected[t]) << t;
    support::with_every_executor([&](const auto& executor, const char* name) {
      EXPECT_EQ(support::bits_of(run(hidden, attention, executor)), support::bits_of(got)) << name;
    });
  }
}

// Attention received, by column: the rows of a softmax all sum to 1 and would say nothing. The last token has itself.
TEST(HostTokenImportanceByHand, AveragesWhatLaterQueriesGive) {
  stored_rows<float> hidden(3, 2);
  stored_rows<float> attention(3, 3);
  const std::vector<float> rows = {1.0F, -3.0F, -2.0F, 0.0F, 0.5F, 0.5F};
  const std::vector<float> weights = {1.0F, 9.0F, 9.0F, 0.5F, 0.5F, 9.0F, 0.25F, 0.25F, 0.5F};
  for (std::size_t i = 0; i < 6; ++i) hidden.memory[i] = rows[i];
  for (std::size_t i = 0; i < 9; ++i) attention.memory[i] = weights[i];
  const auto got = run(hidden, attention);
  EXPECT_FLOAT_EQ(got[0], 4.0F * 1.75F / 3.0F);
  EXPECT_FLOAT_EQ(got[1], 2.0F * 0.75F / 2.0F);
  EXPECT_FLOAT_EQ(got[2], 1.0F * 0.5F);
}

TEST(HostTokenImportanceErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(2);
  stored_rows<float> rows(33, 4);
  rows.fill_normal(random);
  const auto attention = causal_attention<float>(random, 33);
  guarded_buffer<float> importance(33);
  exact_workspace workspace(prune::host_token_importance_workspace_bytes(33));
  const auto expect = [&](matrix_view<const float> hidden, matrix_view<const float> weights, float* out,
                          std::size_t bytes, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(
        prune::host_token_importance(support::serial(), hidden, weights, out, {workspace.view().data, bytes}), code,
        argument));
    EXPECT_TRUE(importance.untouched() && workspace.untouched()) << argument;
  };
  const std::size_t bytes = workspace.view().bytes;
  matrix_view<const float> bad = rows.read();
  bad.data = nullptr;
  expect(bad, attention.read(), importance.data(), bytes, status_code::null_pointer, "hidden");
  bad = rows.read();
  bad.rows = -1;
  expect(bad, attention.read(), importance.data(), bytes, status_code::out_of_range, "hidden");
  bad = rows.read();
  bad.rows = 32;
  expect(bad, attention.read(), importance.data(), bytes, status_code::shape_mismatch, "attention");
  bad = attention.read();
  bad.cols = 32;
  expect(rows.read(), bad, importance.data(), bytes, status_code::shape_mismatch, "attention");
  bad = attention.read();
  bad.data = nullptr;
  expect(rows.read(), bad, importance.data(), bytes, status_code::null_pointer, "attention");
  expect(rows.read(), attention.read(), nullptr, bytes, status_code::null_pointer, "importance");
  expect(rows.read(), attention.read(), importance.data(), bytes - 1, status_code::workspace_too_small, "workspace");
}

TEST(HostProtectTokens, MarksTheListAndNothingElse) {
  const std::vector<std::int32_t> ids = {3, -1, 0, -1, 5, INT32_MAX, INT32_MIN, 4};
  guarded_buffer<std::uint8_t> mask(5);
  support::with_every_executor([&](const auto& executor, const char* name) {
    mask.repoison();
    EXPECT_TRUE(support::accepted(prune::host_protect_tokens(executor, ids.data(), 8, 5, mask.data())));
    EXPECT_TRUE(mask.intact());
    EXPECT_EQ(support::values_of(mask), (std::vector<std::uint8_t>{1, 0, 0, 1, 1})) << name;
  });
  EXPECT_TRUE(support::accepted(prune::host_protect_tokens(support::serial(), nullptr, 0, 0, nullptr)));
}

TEST(HostProtectTokens, RefusesBadArgumentsByName) {
  const std::vector<std::int32_t> ids = {3};
  guarded_buffer<std::uint8_t> mask(5);
  const auto expect = [&](const std::int32_t* list, std::int64_t count, std::int64_t tokens, std::uint8_t* out,
                          status_code code, const std::string& argument) {
    EXPECT_TRUE(
        support::refused(prune::host_protect_tokens(support::serial(), list, count, tokens, out), code, argument));
    EXPECT_TRUE(mask.untouched()) << argument;
  };
  expect(ids.data(), -1, 5, mask.data(), status_code::out_of_range, "count");
  expect(nullptr, 1, 5, mask.data(), status_code::null_pointer, "token_ids");
  expect(ids.data(), 1, -1, mask.data(), status_code::out_of_range, "tokens");
  expect(ids.data(), 1, std::int64_t{1} << 31, mask.data(), status_code::out_of_range, "tokens");
  expect(ids.data(), 1, 5, nullptr, status_code::null_pointer, "protected_tokens");
}

}  // namespace

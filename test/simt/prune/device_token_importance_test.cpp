// SPDX-License-Identifier: Apache-2.0
// The tokens' importance on the device, and the mask of the protected ones: the host's bits.
#include "resonance/prune/device_token_importance.cuh"

#include <gtest/gtest.h>

#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <vector>

#include "prune/importance_reference.hpp"
#include "resonance/core/row_type.hpp"
#include "resonance/prune/device_protect_tokens.cuh"
#include "resonance/prune/host_protect_tokens.hpp"
#include "resonance/prune/host_token_importance.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using importance_reference::causal_attention;
using permute_test::stored_rows;
using support::exact_workspace;
using support::guarded_buffer;

template <class Row, class Attention>
std::vector<float> by_host(matrix_view<const Row> hidden, matrix_view<const Attention> attention) {
  std::vector<float> importance(static_cast<std::size_t>(hidden.rows));
  exact_workspace workspace(prune::host_token_importance_workspace_bytes(hidden.rows));
  EXPECT_TRUE(support::accepted(
      prune::host_token_importance(serial_executor{}, hidden, attention, importance.data(), workspace.view())));
  return importance;
}

template <class Row, class Attention>
guarded_buffer<float> by_device(matrix_view<const Row> hidden, matrix_view<const Attention> attention,
                                const std::int64_t* num_tokens = nullptr) {
  guarded_buffer<float> importance(static_cast<std::size_t>(hidden.rows));
  exact_workspace workspace(prune::device_token_importance_workspace_bytes(hidden.rows));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(
      support::accepted(prune::device_token_importance(on, hidden, attention, importance.data(), workspace.view())));
  EXPECT_TRUE(importance.intact() && workspace.intact());
  return importance;
}

template <class Row>
class DeviceTokenImportance : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceTokenImportance, permute_test::row_types, );

TYPED_TEST(DeviceTokenImportance, HasTheHostsBits) {
  support::random_source random(1);
  for (const std::int64_t tokens : {0, 1, 33, 256, 257, 520}) {
    for (const std::int64_t columns : {1, 130, 1100}) {
      SCOPED_TRACE(::testing::Message() << tokens << " " << columns << " " << simt::next_schedule());
      stored_rows<TypeParam> hidden(tokens, columns, 3, 1);
      hidden.fill_normal(random);
      const auto attention = causal_attention<TypeParam>(random, tokens, 2);
      EXPECT_EQ(support::values_of(by_device(hidden.read(), attention.read())),
                by_host(hidden.read(), attention.read()));
    }
  }
}

TYPED_TEST(DeviceTokenImportance, AgreesWithTheReference) {
  support::random_source random(2);
  for (const std::int64_t tokens : {1, 33, 300}) {
    stored_rows<TypeParam> hidden(tokens, 19, 1, 1);
    hidden.fill_normal(random);
    const auto attention = causal_attention<float>(random, tokens, 5);
    const auto got = by_device(hidden.read(), attention.read());
    const auto expected = importance_reference::importance(hidden.widened(), attention.widened());
    for (std::size_t t = 0; t < expected.size(); ++t) EXPECT_NEAR(got[t], expected[t], 1e-6 * expected[t]) << t;
  }
}

TEST(DeviceTokenImportanceOfTokens, IsTheSameUnderEverySchedule) {
  support::random_source random(3);
  stored_rows<float> hidden(300, 40);
  hidden.fill_normal(random);
  const auto attention = causal_attention<float>(random, 300);
  const auto expected = by_host(hidden.read(), attention.read());
  simt::under_every_schedule(
      [&] { EXPECT_EQ(support::values_of(by_device(hidden.read(), attention.read())), expected); });
}

TEST(DeviceTokenImportanceOfTokens, LooksAtTheTokensThatThereAre) {
  support::random_source random(4);
  stored_rows<float> hidden(300, 40);
  hidden.fill_normal(random);
  const auto attention = causal_attention<float>(random, 300);
  for (const std::int64_t tokens : {0, 1, 256, 299}) {
    matrix_view<const float> rows = hidden.read();
    rows.rows = tokens;
    matrix_view<const float> weights = attention.read();
    weights.rows = weights.cols = tokens;
    const auto expected = by_host(rows, weights);
    const auto got = by_device(hidden.read(), attention.read(), &tokens);
    const auto live = static_cast<std::size_t>(tokens);
    for (std::size_t t = 0; t < live; ++t) EXPECT_EQ(got[t], expected[t]) << t;
    EXPECT_TRUE(got.untouched(live, 300 - live)) << tokens;
  }
}

TEST(DeviceTokenImportanceErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(5);
  stored_rows<float> rows(33, 4);
  rows.fill_normal(random);
  const auto attention = causal_attention<float>(random, 33);
  guarded_buffer<float> importance(33);
  exact_workspace workspace(prune::device_token_importance_workspace_bytes(33));
  const auto expect = [&](matrix_view<const float> hidden, matrix_view<const float> weights, float* out,
                          std::size_t bytes, status_code code, const std::string& argument) {
    EXPECT_TRUE(support::refused(
        prune::device_token_importance({}, hidden, weights, out, {workspace.view().data, bytes}), code, argument));
    EXPECT_TRUE(importance.untouched() && workspace.untouched()) << argument;
  };
  const std::size_t bytes = workspace.view().bytes;
  matrix_view<const float> bad = rows.read();
  bad.data = nullptr;
  expect(bad, attention.read(), importance.data(), bytes, status_code::null_pointer, "hidden");
  bad = attention.read();
  bad.rows = 32;
  expect(rows.read(), bad, importance.data(), bytes, status_code::shape_mismatch, "attention");
  expect(rows.read(), attention.read(), nullptr, bytes, status_code::null_pointer, "importance");
  expect(rows.read(), attention.read(), importance.data(), bytes - 1, status_code::workspace_too_small, "workspace");
}

TEST(DeviceProtectTokens, MarksWhatTheHostMarks) {
  support::random_source random(6);
  for (const std::int64_t tokens : {0, 1, 256, 700}) {
    for (const std::size_t count : {0, 1, 300}) {
      std::vector<std::int32_t> ids(count);
      for (std::size_t i = 0; i < count; ++i)  // every third token, and some that there are not
        ids[i] = random.coin(0.2) ? -1 - static_cast<std::int32_t>(i) : static_cast<std::int32_t>(3 * (count - i) - 2);
      const auto size = static_cast<std::size_t>(tokens);
      guarded_buffer<std::uint8_t> host(size);
      guarded_buffer<std::uint8_t> device(size);
      const auto listed = static_cast<std::int64_t>(count);
      EXPECT_TRUE(
          support::accepted(prune::host_protect_tokens(serial_executor{}, ids.data(), listed, tokens, host.data())));
      simt::under_every_schedule([&] {
        device.repoison();
        EXPECT_TRUE(support::accepted(prune::device_protect_tokens({}, ids.data(), listed, tokens, device.data())));
        EXPECT_TRUE(device.intact());
        EXPECT_EQ(support::values_of(device), support::values_of(host));
      });
    }
  }
}

TEST(DeviceProtectTokens, LooksAtTheTokensThatThereAre) {
  const std::vector<std::int32_t> ids = {3, 9, 1};
  guarded_buffer<std::uint8_t> mask(10);
  const std::int64_t tokens = 5;
  device_stream on;
  on.num_tokens = &tokens;
  EXPECT_TRUE(support::accepted(prune::device_protect_tokens(on, ids.data(), 3, 10, mask.data())));
  EXPECT_EQ(std::vector<std::uint8_t>(mask.begin(), mask.begin() + 5), (std::vector<std::uint8_t>{0, 1, 0, 1, 0}));
  EXPECT_TRUE(mask.untouched(5, 5));
}

TEST(DeviceProtectTokens, RefusesBadArgumentsByName) {
  const std::vector<std::int32_t> ids = {3};
  guarded_buffer<std::uint8_t> mask(5);
  EXPECT_TRUE(support::refused(prune::device_protect_tokens({}, ids.data(), -1, 5, mask.data()),
                               status_code::out_of_range, "count"));
  EXPECT_TRUE(support::refused(prune::device_protect_tokens({}, ids.data(), std::int64_t{1} << 31, 5, mask.data()),
                               status_code::index_overflow, "count"));
  EXPECT_TRUE(support::refused(prune::device_protect_tokens({}, nullptr, 1, 5, mask.data()), status_code::null_pointer,
                               "token_ids"));
  EXPECT_TRUE(support::refused(prune::device_protect_tokens({}, ids.data(), 1, 5, nullptr), status_code::null_pointer,
                               "protected_tokens"));
  EXPECT_TRUE(mask.untouched());
}

}  // namespace

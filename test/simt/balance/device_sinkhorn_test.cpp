// SPDX-License-Identifier: Apache-2.0
// Balanced assignment on the device: the host's bits.
#include "resonance/balance/device_sinkhorn.cuh"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <simt/environment.hpp>
#include <simt/next_schedule.hpp>
#include <string>
#include <vector>

#include "permute/fixture.hpp"
#include "resonance/balance/host_sinkhorn.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using permute_test::stored_rows;
using support::exact_workspace;

template <class Row>
std::vector<float> bias_by_host(const matrix_view<const Row>& logits, const balance::sinkhorn_options& o,
                                std::vector<float> bias) {
  exact_workspace workspace(balance::host_sinkhorn_workspace_bytes(serial_executor{}, logits.rows, logits.cols));
  EXPECT_TRUE(support::accepted(balance::host_sinkhorn(serial_executor{}, logits, o, bias.data(), workspace.view())));
  return bias;
}

template <class Row>
std::vector<float> bias_by_device(const matrix_view<const Row>& logits, const balance::sinkhorn_options& o,
                                  const std::vector<float>& start, const std::int64_t* num_tokens = nullptr) {
  support::guarded_buffer<float> bias(start.size());
  for (std::size_t e = 0; e < start.size(); ++e) bias.data()[e] = start[e];
  exact_workspace workspace(balance::device_sinkhorn_workspace_bytes(logits.rows, logits.cols));
  device_stream on;
  on.num_tokens = num_tokens;
  EXPECT_TRUE(support::accepted(balance::device_sinkhorn(on, logits, o, bias.data(), workspace.view())));
  EXPECT_TRUE(bias.intact() && workspace.intact());
  return {bias.data(), bias.data() + start.size()};
}

template <class Row>
class DeviceSinkhorn : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceSinkhorn, permute_test::row_types, );

// Rows that fit shared memory 256 at a time, a few at a time, and not at all.
TYPED_TEST(DeviceSinkhorn, IsTheHosts) {
  support::random_source random(51);
  for (const support::batch_shape& s :
       {support::batch_shape{0, 3, 1}, {1, 1, 1}, {33, 13, 1}, {300, 65, 1}, {17, 3001, 1}}) {
    SCOPED_TRACE(::testing::Message() << s);
    stored_rows<TypeParam> logits(s.tokens, s.experts, 1, 1);
    logits.fill_normal(random);
    balance::sinkhorn_options o;
    o.iterations = 2;
    std::vector<float> start(static_cast<std::size_t>(s.experts));
    for (float& value : start) value = static_cast<float>(random.normal());
    for (const bool warm : {false, true}) {
      o.warm_start = warm;
      EXPECT_EQ(bias_by_device(logits.read(), o, start), bias_by_host(logits.read(), o, start)) << warm;
    }
  }
}

TEST(DeviceSinkhornOfTokens, CountsTheTokensThatThereAre) {
  support::random_source random(52);
  stored_rows<float> logits(300, 7, 0, 0);
  logits.fill_normal(random);
  const std::int64_t live = 270;
  const std::vector<float> zeros(7, 0.0F);
  const auto few = matrix_view<const float>{logits.read().data, live, 7, logits.read().stride};
  EXPECT_EQ(bias_by_device(logits.read(), {}, zeros, &live), bias_by_host(few, {}, zeros));
}

TEST(DeviceSinkhornOfTokens, RefusesByName) {
  support::guarded_buffer<float> bias(3);
  const std::vector<float> logits(6, 0.0F);
  exact_workspace workspace(balance::device_sinkhorn_workspace_bytes(2, 3));
  balance::sinkhorn_options o;
  o.iterations = 0;
  const matrix_view<const float> in{logits.data(), 2, 3};
  EXPECT_EQ(std::string(balance::device_sinkhorn(device_stream{}, in, o, bias.data(), workspace.view()).argument),
            "iterations");
  EXPECT_TRUE(bias.untouched());
}

}  // namespace

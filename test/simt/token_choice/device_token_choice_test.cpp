// SPDX-License-Identifier: Apache-2.0
// Token choice on the device: every shape, the host's bits.
#include <resonance/token_choice/device_token_choice.cuh>

#include "choice_case.hpp"

namespace {

using namespace choice_case;

struct shape {
  std::int64_t tokens;
  std::int64_t experts;
  std::int32_t top_k;
};

const shape shapes[] = {{0, 8, 2},   {1, 1, 1},     {1, 128, 8},   {31, 7, 2},    {32, 13, 8},   {33, 64, 8},
                        {5, 16, 16}, {9, 64, 22},   {6, 72, 10},   {7, 128, 22},  {33, 257, 8},  {5, 288, 2},
                        {4, 384, 8}, {3, 512, 10},  {3, 576, 22},  {2, 1024, 32}, {2, 2048, 8},  {257, 8, 2},
                        {2, 64, 64}, {2, 257, 100}, {1, 512, 512}, {1, 4096, 22}, {1, 4096, 200}};

TEST(DeviceTokenChoice, HasTheHostsBitsForEveryShape) {
  support::random_source random(1);
  for (const shape& s : shapes) {
    SCOPED_TRACE(::testing::Message() << "T " << s.tokens << ", E " << s.experts << ", K " << s.top_k);
    const auto logits = awkward_logits(random, s.tokens, s.experts);
    token_choice::options o;
    o.top_k = s.top_k;
    o.renormalize = random.coin();
    o.routed_scaling_factor = 2.5f;
    o.missing = random.coin() ? token_choice::missing_choice::lowest_ids : token_choice::missing_choice::minus_one;
    const affinity::logits_input<float> input{matrix_view<const float>(logits.data(), s.tokens, s.experts)};
    expect_the_hosts_bits(affinity::logits{}, input, affinity::softmax{}, token_choice::top_k{}, o);
  }
}

TEST(DeviceTokenChoice, HasTheHostsBitsUnderEverySchedule) {
  support::random_source random(2);
  const auto logits = awkward_logits(random, 37, 72);
  const affinity::logits_input<float> input{matrix_view<const float>(logits.data(), 37, 70, 72)};
  token_choice::options o;
  o.top_k = 7;
  simt::under_every_schedule(
      [&] { expect_the_hosts_bits(affinity::logits{}, input, affinity::softmax{}, token_choice::top_k{}, o); });
  o.top_k = 40;
  simt::under_every_schedule(
      [&] { expect_the_hosts_bits(affinity::logits{}, input, affinity::softmax{}, token_choice::top_k{}, o); });
}

TEST(DeviceTokenChoice, WorksOnTheTokensThatThereAre) {
  support::random_source random(3);
  const auto logits = awkward_logits(random, 40, 64);
  const affinity::logits_input<float> input{matrix_view<const float>(logits.data(), 40, 64)};
  token_choice::options o;
  for (const std::int32_t top_k : {4, 40}) {
    o.top_k = top_k;
    for (const std::int64_t live : {0, 1, 17, 40})
      expect_the_hosts_bits(affinity::logits{}, input, affinity::softmax{}, token_choice::top_k{}, o, live);
  }
}

TEST(DeviceTokenChoice, ReadsHalvesAtAnyAlignment) {
  support::random_source random(4);
  for (const std::int64_t experts : {72, 129}) {
    std::vector<bfloat16> logits(9 * 140 + 3);
    for (bfloat16& logit : logits) logit = row_traits<bfloat16>::narrow(static_cast<float>(random.normal()));
    for (const std::size_t offset : {0u, 1u, 2u}) {
      const affinity::logits_input<bfloat16> input{
          matrix_view<const bfloat16>(logits.data() + offset, 9, experts, 140)};
      token_choice::options o;
      o.top_k = 6;
      expect_the_hosts_bits(affinity::logits{}, input, affinity::softmax{}, token_choice::top_k{}, o);
    }
  }
}

TEST(DeviceTokenChoiceErrors, NameTheArgumentAndWriteNothing) {
  const std::vector<float> logits(4 * 8);
  const affinity::warp_source<affinity::logits, affinity::logits_input<float>> source(
      {}, {matrix_view<const float>(logits.data(), 4, 8)});
  tables out(4, 8, 2);
  const auto choose = [&](const token_choice::options& o, const choice_buffers& choice, matrix_view<float> row) {
    return token_choice::device_token_choice(device_stream{}, source, affinity::softmax{}, token_choice::top_k{}, o,
                                             choice, row, workspace_view{});
  };
  token_choice::options o;
  o.top_k = 9;
  EXPECT_TRUE(support::refused(choose(o, out.choice(), {}), status_code::out_of_range, "top_k"));
  o.top_k = 2;
  EXPECT_TRUE(support::refused(choose(o, {}, {}), status_code::null_pointer, "topk_ids"));
  EXPECT_TRUE(support::refused(choose(o, out.choice(), matrix_view<float>(out.row.data(), 3, 8)),
                               status_code::shape_mismatch, "affinity"));
  EXPECT_TRUE(out.ids.untouched() && out.weights.untouched() && out.row.untouched());

  const affinity::warp_source<affinity::logits, affinity::logits_input<float>> wide(
      {}, {matrix_view<const float>(logits.data(), 1, 20000, 20000)});
  o.top_k = 40;
  EXPECT_TRUE(
      support::refused(token_choice::device_token_choice(device_stream{}, wide, affinity::softmax{},
                                                         token_choice::top_k{}, o, out.choice(), {}, workspace_view{}),
                       status_code::workspace_too_small, "workspace"));
}

}  // namespace

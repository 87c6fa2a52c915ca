// SPDX-License-Identifier: Apache-2.0
// Bytes that token choice moves, from logits and from hidden states.
#include <resonance/token_choice/device_token_choice.cuh>

#include <gtest/gtest.h>

#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <string>

#include "table.hpp"

namespace {

using namespace resonance;

template <class Metric, class Input>
void expect_few_bytes(const std::string& stage, const std::string& shape, const Input& input, std::int64_t read_bytes,
                      std::int32_t top_k) {
  const affinity::warp_source<Metric, Input> source({}, input);
  const auto slots = static_cast<std::size_t>(source.tokens() * top_k);
  support::guarded_buffer<std::int32_t> ids(slots);
  support::guarded_buffer<float> weights(slots);
  token_choice::options o;
  o.top_k = top_k;
  traffic::measure(stage, shape, read_bytes + 8 * static_cast<std::int64_t>(slots), 1, {}, [&] {
    return token_choice::device_token_choice(device_stream{}, source, affinity::softmax{}, token_choice::top_k{}, o,
                                             {ids.data(), weights.data(), nullptr}, {}, {});
  });
}

template <class Row>
void expect_few_bytes_from_logits(const std::string& type) {
  support::random_source random(11);
  const support::batch_shape shapes[] = {{512, 8, 2}, {512, 64, 8}, {512, 128, 8}, {256, 256, 8}, {256, 512, 8}};
  for (const support::batch_shape& s : shapes) {
    const auto logits = traffic::normal_rows<Row>(random, s.tokens * s.experts);
    const affinity::logits_input<Row> input{{logits.data(), s.tokens, s.experts}};
    const auto bytes = static_cast<std::int64_t>(logits.size_bytes());
    expect_few_bytes<affinity::logits>("top-k of " + type + " logits", traffic::shape_of(s), input, bytes, s.top_k);
  }
}

TEST(Traffic, TopKOfLogits) { expect_few_bytes_from_logits<float>("fp32"); }
TEST(Traffic, TopKOfBfloat16Logits) { expect_few_bytes_from_logits<bfloat16>("bf16"); }

template <class Row>
void expect_few_bytes_from_hidden_states(const std::string& type) {
  support::random_source random(12);
  for (const support::batch_shape& s : {support::batch_shape{64, 8, 2}, {64, 64, 8}, {64, 128, 8}}) {
    const std::int64_t width = 2048;
    const auto hidden = traffic::normal_rows<Row>(random, s.tokens * width);
    affinity::hidden_input<Row> input;
    input.hidden = {hidden.data(), s.tokens, width};
    input.experts = s.experts;
    const auto bytes = static_cast<std::int64_t>(hidden.size_bytes());
    expect_few_bytes<affinity::grouped_average_cosine>("GrAP of " + type + " + top-k", traffic::shape_of(s, " H=2048"),
                                                       input, bytes, s.top_k);
  }
}

TEST(Traffic, TopKOfGroupedAverages) { expect_few_bytes_from_hidden_states<float>("fp32"); }
TEST(Traffic, TopKOfBfloat16GroupedAverages) { expect_few_bytes_from_hidden_states<bfloat16>("bf16"); }

}  // namespace

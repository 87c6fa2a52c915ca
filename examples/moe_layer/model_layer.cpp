// SPDX-License-Identifier: Apache-2.0
#include "model_layer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <resonance/affinity/metrics.hpp>
#include <resonance/permute/host_permute.hpp>
#include <resonance/permute/host_unpermute.hpp>
#include <resonance/route/host_route.hpp>
#include <resonance/route/router.hpp>

#include "stage_tools.hpp"

namespace demo {
namespace {

using namespace resonance;

// Softmax top-2, renormalized, dropless: what the model was trained with.
using model_router = router<affinity::dot, token_choice::top_k, merge::token_only, prune::unlimited>;

// Experts get their rows in whole tiles, so that every tile has one expert and one task.
constexpr std::int32_t tile_tokens = 16;

// out[tile,N] = in[tile,M] * weights[M,N]
void multiply(const std::vector<float>& in, std::int64_t m, const float* weights, std::int64_t n, float* out) {
  std::fill(out, out + tile_tokens * n, 0.0f);
  for (std::int64_t i = 0; i < m; ++i) {
    const float* from = weights + i * n;
    for (std::int64_t row = 0; row < tile_tokens; ++row) {
      const float factor = in[static_cast<std::size_t>(row * m + i)];
      float* to = out + row * n;
      for (std::int64_t j = 0; j < n; ++j) to[j] += factor * from[j];
    }
  }
}

float gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

// y = gelu(x * w1[e]) * w2[e] for the rows of one tile.
void run_expert(const recording& data, std::int32_t expert, const float16* rows, float* y) {
  const std::int64_t hidden = data.hidden();
  const std::int64_t width = data.expert_width;
  std::vector<float> x(static_cast<std::size_t>(tile_tokens * hidden));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = row_traits<float16>::widen(rows[i]);
  std::vector<float> inner(static_cast<std::size_t>(tile_tokens * width));
  multiply(x, hidden, data.w1.data() + expert * hidden * width, width, inner.data());
  for (float& value : inner) value = gelu(value);
  multiply(inner, width, data.w2.data() + expert * width * hidden, hidden, y);
}

template <class T>
double largest_difference(const std::vector<T>& a, const std::vector<T>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (std::isnan(difference)) return HUGE_VAL;
    largest = std::max(largest, difference);
  }
  return largest;
}

}  // namespace

model_layer_result run_model_layer(const recording& data, const thread_pool& pool) {
  const layer_input& layer = data.inputs[recording::answered_layer];
  const std::int64_t tokens = data.tokens();
  const std::int64_t hidden = data.hidden();
  const std::int32_t experts = data.experts();

  affinity::hidden_input<float16> input;
  input.hidden = layer.hidden.view();
  input.gate = layer.gate.view();
  model_router::options options;
  options.choice.top_k = recording::top_k;
  options.choice.renormalize = true;
  options.plan.tile_tokens = tile_tokens;

  const std::int64_t slots = tokens * recording::top_k;
  const auto most_rows = static_cast<std::size_t>(plan::max_rows(slots, experts, options.plan));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(slots));
  std::vector<float> weights(ids.size());
  std::vector<std::int32_t> inverse(ids.size());
  std::vector<std::int32_t> expert_offsets(static_cast<std::size_t>(experts) + 1);
  std::vector<std::int32_t> sorted_token_ids(most_rows);
  std::vector<std::int32_t> expert_ids(most_rows / tile_tokens);
  std::int64_t num_rows[2] = {};
  route::outputs<> out;
  out.choice.topk_ids = ids.data();
  out.choice.topk_weights = weights.data();
  out.plan = {nullptr, expert_offsets.data(), sorted_token_ids.data(), inverse.data(), expert_ids.data(), num_rows};

  model_layer_result result;
  scratch_memory scratch;
  const auto host = on_host(pool);
  const workspace_view workspace = scratch.of(model_router::workspace_bytes(host, input, options));
  result.route_seconds =
      median_seconds([&] { must("route", model_router::run(host, input, options, out, workspace)); });

  permute::row_plan<> rows;
  rows.assignments = as_assignments(out.choice, tokens, experts, recording::top_k);
  rows.sorted_token_ids = sorted_token_ids.data();
  rows.inverse = inverse.data();
  rows.num_rows = num_rows[0];
  std::vector<float16> x(static_cast<std::size_t>(rows.num_rows * hidden));
  std::vector<float> y(x.size());
  std::vector<float> output(static_cast<std::size_t>(tokens * hidden));
  const matrix_view<float16> permuted(x.data(), rows.num_rows, hidden);
  result.permute_seconds =
      median_seconds([&] { must("permute", permute::host_permute(pool, input.hidden, rows, permuted)); });
  result.experts_seconds = seconds_of([&] {
    pool.run(static_cast<int>(rows.num_rows / tile_tokens), [&](int tile) {
      const std::int64_t first = std::int64_t{tile} * tile_tokens;
      run_expert(data, expert_ids[static_cast<std::size_t>(tile)], permuted.row(first), y.data() + first * hidden);
    });
  });
  const matrix_view<const float> expert_rows(y.data(), rows.num_rows, hidden);
  const matrix_view<float> combined(output.data(), tokens, hidden);
  result.unpermute_seconds =
      median_seconds([&] { must("unpermute", permute::host_unpermute(pool, expert_rows, rows, combined)); });

  result.ids = slots;
  for (std::size_t slot = 0; slot < ids.size(); ++slot) result.equal_ids += ids[slot] == data.topk_ids[slot] ? 1 : 0;
  result.weight_error = largest_difference(weights, data.topk_weights);
  result.output_error = largest_difference(output, data.output);
  return result;
}

}  // namespace demo

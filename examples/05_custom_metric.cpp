// SPDX-License-Identifier: Apache-2.0
// A metric of your own: says what a pair's sum runs over, and what becomes of the sum. The library does the summing.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;

//! delta = x_t . w_i / |x_t|: the length of a token does not matter, the length of an expert's gate row does.
struct token_normalized_dot {
  using stage = rs::stages::affinity;
  static constexpr rs::affinity::operand reads = rs::affinity::operand::gate;  // the sum is x_t . w_i
  static constexpr bool needs_norms = true;
  static float finish(float sum, float token_norm, float) { return token_norm > 0.0f ? sum / token_norm : 0.0f; }
};

int main() {
  constexpr std::int64_t tokens = 200;
  constexpr std::int64_t hidden = 40;
  constexpr std::int32_t experts = 6;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(tokens * hidden), gate(experts * hidden);
  for (float& value : x) value = normal(random);
  for (float& value : gate) value = normal(random);

  rs::affinity::hidden_input<float> input;
  input.hidden = {x.data(), tokens, hidden};
  input.gate = {gate.data(), experts, hidden};
  std::vector<float> delta(tokens * experts);
  const rs::matrix_view<float> deltas(delta.data(), tokens, experts);
  const rs::serial_executor executor;
  const token_normalized_dot metric;
  std::vector<char> workspace(rs::affinity::host_affinity_workspace_bytes(executor, metric, input));
  const rs::workspace_view memory{workspace.data(), workspace.size()};
  bool right = rs::affinity::host_affinity(executor, metric, input, deltas, memory).ok();

  double largest_error = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t e = 0; e < experts; ++e) {
      double product = 0, square = 0;
      for (std::int64_t j = 0; j < hidden; ++j) {
        const double x_tj = static_cast<double>(input.hidden.row(t)[j]);
        product += x_tj * static_cast<double>(input.gate.row(e)[j]);
        square += x_tj * x_tj;
      }
      largest_error = std::fmax(largest_error, std::fabs(deltas.row(t)[e] - product / std::sqrt(square)));
    }
  }

  // A power of two changes no rounding: longer tokens give the same bits.
  for (float& value : x) value *= 8.0f;
  std::vector<float> of_longer(delta.size());
  right = right &&
          rs::affinity::host_affinity(executor, metric, input, {of_longer.data(), tokens, experts}, memory).ok() &&
          of_longer == delta;

  // And a router takes it like any metric of the library.
  using router = rs::router<token_normalized_dot, rs::token_choice::top_k, rs::merge::restricted, rs::prune::unlimited>;
  router::options options;
  std::vector<std::int32_t> best(tokens);
  rs::route::outputs<> out;
  out.choice.topk_ids = best.data();
  const auto host = rs::on_host(executor);
  workspace.resize(router::workspace_bytes(host, input, options));
  right = right && router::run(host, input, options, out, {workspace.data(), workspace.size()}).ok();
  for (std::int64_t t = 0; right && t < tokens; ++t)
    for (std::int64_t e = 0; e < experts; ++e)
      right = right && deltas.row(t)[e] <= deltas.row(t)[best[static_cast<std::size_t>(t)]];

  std::printf("largest error %.1e, scaling and routing %s\n", largest_error, right ? "right" : "WRONG");
  return right && largest_error < 1e-5 ? 0 : 1;
}

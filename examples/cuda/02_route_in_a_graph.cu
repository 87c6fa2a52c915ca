// SPDX-License-Identifier: Apache-2.0
// A router captured once in a CUDA graph: replays serve batches of any size up to the captured one, since the kernels
// read the number of tokens from device memory.
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>
#include <resonance/route/device_route.cuh>

#include "support.hpp"

namespace rs = resonance;

using router = rs::router<rs::affinity::logits, rs::token_choice::top_k, rs::merge::token_only, rs::prune::unlimited>;
using input_type = rs::affinity::logits_input<float>;

//! Where the tokens go: their weights, and the rows of every expert. Vectors on the host, arrays on the device.
template <template <class...> class Array>
struct routed {
  Array<float> weights;
  Array<std::int32_t> offsets, sorted, inverse;
  Array<std::int64_t> num_rows;

  routed(std::size_t slots, std::size_t experts)
      : weights(slots), offsets(experts + 1), sorted(slots), inverse(slots), num_rows(2) {}

  rs::route::outputs<> view() {
    rs::route::outputs<> out;
    out.choice.topk_weights = weights.data();
    out.plan = {nullptr, offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows.data()};
    return out;
  }
};

//! The first elements are the same; what comes after belongs to tokens that there are not.
template <class T>
bool starts_with(const std::vector<T>& values, const std::vector<T>& first) {
  return std::vector<T>(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(first.size())) == first;
}

int main() {
  constexpr std::int64_t most_tokens = 300;
  constexpr std::int32_t experts = 16;
  constexpr std::int32_t top_k = 2;
  router::options options;
  options.choice.top_k = top_k;
  options.choice.renormalize = true;

  // Everything that the graph touches is allocated once, for the largest batch.
  example::device_array<float> logits(most_tokens * experts);
  example::device_array<std::int64_t> num_tokens(1);
  routed<example::device_array> found(most_tokens * top_k, experts);
  input_type input;
  input.logits = {logits.data(), most_tokens, experts};
  rs::device_stream on;
  on.num_tokens = num_tokens.data();
  const example::device_array<char> workspace(router::workspace_bytes(rs::on_device(on), input, options));

  example::graph graph([&](cudaStream_t stream) {
    on.stream = stream;
    example::must(router::run(rs::on_device(on), input, options, found.view(), {workspace.data(), workspace.size()}));
  });

  bool right = true;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  const rs::serial_executor executor;
  const auto host = rs::on_host(executor);
  for (const std::int64_t tokens : {std::int64_t{300}, std::int64_t{17}, std::int64_t{0}, std::int64_t{256}}) {
    std::vector<float> batch(most_tokens * experts);
    for (float& value : batch) value = normal(random);
    logits.assign(batch);
    num_tokens.assign({tokens});
    graph.replay();

    input_type host_input;
    host_input.logits = {batch.data(), tokens, experts};
    std::vector<char> memory(router::workspace_bytes(host, host_input, options));
    routed<std::vector> expected(static_cast<std::size_t>(tokens * top_k), experts);
    example::must(router::run(host, host_input, options, expected.view(), {memory.data(), memory.size()}));
    const bool same = found.num_rows.to_host() == expected.num_rows && found.offsets.to_host() == expected.offsets &&
                      starts_with(found.weights.to_host(), expected.weights) &&
                      starts_with(found.sorted.to_host(), expected.sorted) &&
                      starts_with(found.inverse.to_host(), expected.inverse);
    std::printf("%lld tokens: %s\n", static_cast<long long>(tokens), same ? "as on the host" : "DIFFERENT");
    right = right && same;
  }
  return example::finish(right);
}

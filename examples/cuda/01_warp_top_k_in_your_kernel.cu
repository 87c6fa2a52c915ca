// SPDX-License-Identifier: Apache-2.0
// Top-k by a warp, inside a kernel of your own: the keys come from wherever you have them, the best stay in registers.
#include <cstdint>
#include <random>
#include <vector>

#include <resonance/core/collectives.cuh>
#include <resonance/core/order_key.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/resonance.hpp>
#include <resonance/token_choice/warp_top_k.cuh>

#include "support.hpp"

namespace rs = resonance;

constexpr int top_k = 4;

//! A warp per token takes the best experts by logit minus how loaded the expert is; nothing but the ids is written.
__global__ void choose_by_load(const float* logits, const float* load_of_expert, std::int64_t tokens,
                               std::int32_t experts, std::int32_t* ids) {
  const rs::warp_team warp;
  const std::int64_t token = rs::block_index() * (rs::block_threads() / rs::warp_size) + rs::warp_id();
  if (token >= tokens) return;  // the whole warp

  const float* row = logits + token * experts;
  const auto key_of = [=](std::int32_t e) -> std::uint64_t {
    const std::uint32_t key = rs::order_key(rs::load(row + e) - rs::load(load_of_expert + e));
    return key == rs::never_chosen ? 0 : rs::pack_key(key, static_cast<std::uint32_t>(e));
  };
  std::uint64_t best[top_k];
  rs::token_choice::warp_top_k(warp, experts, key_of, best);

  // Every thread of the warp has the list; thread k writes entry k.
  const std::uint64_t own = rs::token_choice::entry(best, warp.rank());
  if (warp.rank() < top_k)
    rs::store(ids + token * top_k + warp.rank(), own == 0 ? -1 : static_cast<std::int32_t>(rs::packed_index(own)));
}

int main() {
  constexpr std::int64_t tokens = 50;
  constexpr std::int32_t experts = 72;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> logits(tokens * experts), loads(experts), minus_loads(experts);
  for (float& value : logits) value = normal(random);
  for (std::size_t e = 0; e < loads.size(); ++e) {
    loads[e] = normal(random);
    minus_loads[e] = -loads[e];
  }

  const example::device_array<float> device_logits(logits);
  const example::device_array<float> device_loads(loads);
  const example::device_array<std::int32_t> ids(tokens * top_k);
  constexpr unsigned warps = 4;
  example::launch(choose_by_load, (tokens + warps - 1) / warps, warps * rs::warp_size, device_logits.data(),
                  device_loads.data(), tokens, experts, ids.data());
  example::wait();

  // The host's token choice with the same numbers as a bias.
  using input_type = rs::affinity::logits_input<float>;
  input_type input;
  input.logits = {logits.data(), tokens, experts};
  rs::token_choice::options options;
  options.top_k = top_k;
  options.correction_bias = minus_loads.data();
  const rs::affinity::host_source<rs::affinity::logits, input_type> source({}, input);
  const rs::serial_executor executor;
  std::vector<char> memory(rs::token_choice::host_token_choice_workspace_bytes(executor, source));
  std::vector<std::int32_t> expected(tokens * top_k);
  example::must(rs::token_choice::host_token_choice(
      executor, source, rs::affinity::identity{}, rs::token_choice::top_k{}, options,
      {expected.data(), nullptr, nullptr}, {}, {memory.data(), memory.size()}));
  return example::finish(ids.to_host() == expected);
}

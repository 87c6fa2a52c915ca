// SPDX-License-Identifier: Apache-2.0
// A capacity rule of your own: a struct that says how many assignments an expert keeps.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;

//! Cuts only what is above the mean load: C_i = mean + share * (|A_i| - mean), everything where |A_i| is below it.
struct soften_peaks {
  using stage = rs::stages::capacity;  // where the policy belongs: anywhere else it does not compile
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  double share = 0.5;

  // Runs before anything is written; the status names the parameter.
  constexpr rs::status check(const rs::prune::batch_facts&) const {
    return share >= 0.0 && share <= 1.0 ? rs::status{} : rs::status{rs::status_code::out_of_range, "share"};
  }

  std::int64_t capacity(const rs::prune::batch_facts& batch, std::int32_t, std::int64_t assigned) const {
    const std::int64_t mean = batch.tokens * batch.top_k / batch.experts;
    if (assigned <= mean) return assigned;
    return mean + static_cast<std::int64_t>(share * static_cast<double>(assigned - mean));
  }
};

int main() {
  constexpr std::int64_t tokens = 1000;
  constexpr std::int32_t experts = 10;
  constexpr std::int32_t top_k = 2;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> logits(tokens * experts);
  for (std::size_t i = 0; i < logits.size(); ++i)  // lower experts are more popular
    logits[i] = normal(random) - 0.2f * static_cast<float>(i % experts);

  using router = rs::router<rs::affinity::logits, rs::token_choice::top_k, rs::merge::restricted, soften_peaks>;
  router::options options;
  options.choice.top_k = top_k;
  options.capacity.share = 0.25;
  rs::affinity::logits_input<float> input;
  input.logits = {logits.data(), tokens, experts};
  std::vector<std::int64_t> kept(experts), dropped(experts);
  rs::route::outputs<> out;
  out.prune.kept = kept.data();
  out.prune.dropped = dropped.data();
  const rs::serial_executor executor;
  const auto host = rs::on_host(executor);
  std::vector<char> workspace(router::workspace_bytes(host, input, options));
  const rs::workspace_view memory{workspace.data(), workspace.size()};
  bool right = router::run(host, input, options, out, memory).ok();

  constexpr std::int64_t mean = tokens * top_k / experts;
  for (std::size_t e = 0; e < experts; ++e) {
    const std::int64_t chosen = kept[e] + dropped[e];
    std::printf("expert %zu: %lld of %lld\n", e, static_cast<long long>(kept[e]), static_cast<long long>(chosen));
    right = right && kept[e] == std::min(chosen, mean + std::max<std::int64_t>(0, chosen - mean) / 4);
  }
  right = right && dropped[0] > 0 && dropped[experts - 1] == 0;

  options.capacity.share = 1.5;
  const rs::status refused = router::run(host, input, options, out, memory);
  std::printf("share = 1.5: %s %s\n", refused.argument, refused.message());
  right = right && refused.code == rs::status_code::out_of_range;
  return right ? 0 : 1;
}

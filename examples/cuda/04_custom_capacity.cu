// SPDX-License-Identifier: Apache-2.0
// A capacity rule of your own on the device: the struct of examples/04_custom_capacity.cpp, marked for both sides.
#include <cstdint>
#include <random>
#include <vector>

#include <resonance/prune/device_prune.cuh>
#include <resonance/resonance.hpp>

#include "support.hpp"

namespace rs = resonance;

//! Cuts only what is above the mean load: C_i = mean + share * (|A_i| - mean), everything where |A_i| is below it.
struct soften_peaks {
  using stage = rs::stages::capacity;
  static constexpr bool by_mass = false;
  static constexpr bool needs_delta_max = false;
  double share = 0.5;

  // On the host, before anything is launched.
  constexpr rs::status check(const rs::prune::batch_facts&) const {
    return share >= 0.0 && share <= 1.0 ? rs::status{} : rs::status{rs::status_code::out_of_range, "share"};
  }

  // By the block that has expert `expert`. The rule is passed to the kernel by value.
  RESONANCE_HOST_DEVICE std::int64_t capacity(const rs::prune::batch_facts& batch, std::int32_t,
                                              std::int64_t assigned) const {
    const std::int64_t mean = batch.tokens * batch.top_k / batch.experts;
    if (assigned <= mean) return assigned;
    return mean + static_cast<std::int64_t>(share * static_cast<double>(assigned - mean));
  }
};

int main() {
  constexpr std::int64_t tokens = 200;
  constexpr std::int32_t experts = 10;
  constexpr std::int32_t top_k = 2;
  constexpr std::size_t slots = tokens * top_k;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<std::int32_t> ids(slots);
  std::vector<float> affinity(slots);
  for (std::size_t slot = 0; slot < slots; ++slot) {  // half of the choices fall on the first two experts
    const auto any = static_cast<std::int32_t>(random() % (2 * experts));
    ids[slot] = any < experts ? any : any % 2;
    affinity[slot] = normal(random);
  }
  const example::device_array<std::int32_t> device_ids(ids);
  const example::device_array<float> device_affinity(affinity);
  const rs::assignment_view on_host =
      rs::as_assignments(rs::choice_buffers{ids.data(), nullptr, affinity.data()}, tokens, experts, top_k);
  const rs::assignment_view on_device = rs::as_assignments(
      rs::choice_buffers{device_ids.data(), nullptr, device_affinity.data()}, tokens, experts, top_k);
  soften_peaks rule;
  rule.share = 0.25;

  // What each expert keeps, by position: the earliest tokens first.
  std::vector<std::int32_t> expected_ids(slots);
  std::vector<std::int64_t> expected_kept(experts);
  rs::prune::outputs expected;
  expected.ids = expected_ids.data();
  expected.kept = expected_kept.data();
  const rs::serial_executor executor;
  std::vector<char> memory(rs::prune::host_prune_workspace_bytes(executor, on_host));
  example::must(rs::prune::host_prune(executor, rule, rs::prune::position{}, on_host, {}, expected,
                                      {memory.data(), memory.size()}));

  const example::device_array<std::int32_t> kept_ids(slots);
  const example::device_array<std::int64_t> kept(experts);
  rs::prune::outputs found;
  found.ids = kept_ids.data();
  found.kept = kept.data();
  const example::device_array<char> workspace(
      rs::prune::device_prune_workspace_bytes<soften_peaks, rs::prune::position>(on_device));
  const rs::workspace_view scratch{workspace.data(), workspace.size()};
  const rs::device_stream on;
  example::must(rs::prune::device_prune(on, rule, rs::prune::position{}, on_device, {}, found, scratch));
  example::wait();
  bool right = kept_ids.to_host() == expected_ids && kept.to_host() == expected_kept;

  const std::int64_t mean = tokens * top_k / experts;
  right = right && expected_kept[0] > mean && expected_kept[experts - 1] < mean;

  rule.share = 1.5;  // refused before anything is launched
  right = right && rs::prune::device_prune(on, rule, rs::prune::position{}, on_device, {}, found, scratch).code ==
                       rs::status_code::out_of_range;
  return example::finish(right);
}

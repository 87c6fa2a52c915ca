// SPDX-License-Identifier: Apache-2.0
// What an expert still takes, as the host finds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "resonance/core/executor.hpp"
#include "resonance/merge/host_merge.hpp"

inline std::vector<std::uint64_t> host_thresholds(const resonance::merge::expert_side& expert) {
  resonance::detail::workspace_carver counter;
  resonance::detail::column_scan scan;
  scan.carve(counter, 1, expert.affinity.rows);
  std::vector<char> memory(counter.bytes());
  resonance::detail::workspace_carver carver(memory.data());
  scan.carve(carver, 1, expert.affinity.rows);
  std::vector<std::uint64_t> thresholds(static_cast<std::size_t>(expert.affinity.cols));
  resonance::detail::expert_thresholds(resonance::serial_executor{}, expert, scan, thresholds.data());
  return thresholds;
}

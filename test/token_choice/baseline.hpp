// SPDX-License-Identifier: Apache-2.0
// One choice from hidden states, computed by a translation unit that never looks for a wider instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace baseline {

struct result {
  std::vector<std::int32_t> ids;
  std::vector<float> weights, delta;
};

//! Cosine to a gate, softmax, top 3; bf16 tokens and fp32 gate.
result choose(const std::vector<std::uint16_t>& tokens_bf16, const std::vector<float>& gate, std::int64_t tokens,
              std::int64_t experts, std::int64_t hidden);

}  // namespace baseline

// SPDX-License-Identifier: Apache-2.0
// The library compiled for the plain target only, in a namespace of its own so that the two builds share no code.
// host_widest_test.cpp compares it with the build that picks the widest instruction set.
#define RESONANCE_HOST_BASELINE
#define RESONANCE_WRAP_NAMESPACE narrow_build
#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/token_choice/host_token_choice.hpp>

#include "token_choice/baseline.hpp"

namespace {

namespace library = narrow_build::resonance;
#include "token_choice/choose_from_gate.inc"

}  // namespace

baseline::result baseline::choose(const std::vector<std::uint16_t>& tokens_bf16, const std::vector<float>& gate,
                                  std::int64_t tokens, std::int64_t experts, std::int64_t hidden) {
  return choose_from_gate(tokens_bf16, gate, tokens, experts, hidden);
}

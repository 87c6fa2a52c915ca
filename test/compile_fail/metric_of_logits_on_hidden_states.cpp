// SPDX-License-Identifier: Apache-2.0
// expect: this metric reads logits_input, not hidden_input
#include <resonance/resonance.hpp>

resonance::status affinities(const resonance::affinity::hidden_input<>& input, resonance::matrix_view<float> affinity) {
  return resonance::affinity::host_affinity(resonance::serial_executor{}, resonance::affinity::logits{}, input,
                                            affinity, {});
}

int main() {}

// SPDX-License-Identifier: Apache-2.0
// expect: this metric reads hidden_input, not logits_input
#include <resonance/resonance.hpp>

resonance::status affinities(const resonance::affinity::logits_input<>& input, resonance::matrix_view<float> affinity) {
  return resonance::affinity::host_affinity(resonance::serial_executor{}, resonance::affinity::grouped_average_cosine{},
                                            input, affinity, {});
}

int main() {}

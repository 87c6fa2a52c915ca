// SPDX-License-Identifier: Apache-2.0
// expect: a row type must be float, bfloat16 or float16
#include <resonance/resonance.hpp>

resonance::status affinities(const resonance::affinity::hidden_input<double>& input,
                             resonance::matrix_view<float> affinity, resonance::workspace_view workspace) {
  return resonance::affinity::host_affinity(resonance::serial_executor{}, resonance::affinity::cosine{}, input,
                                            affinity, workspace);
}

int main() {}

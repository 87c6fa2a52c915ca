// SPDX-License-Identifier: Apache-2.0
// expect: this metric does not read this input
#include <resonance/resonance.hpp>

resonance::status affinities(resonance::matrix_view<float> affinity) {
  return resonance::affinity::host_affinity(resonance::serial_executor{}, resonance::affinity::dot{}, affinity,
                                            affinity, {});
}

int main() {}

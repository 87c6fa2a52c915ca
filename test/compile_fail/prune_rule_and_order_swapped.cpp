// SPDX-License-Identifier: Apache-2.0
// expect: the second argument must be a capacity rule
#include <resonance/resonance.hpp>

resonance::status pruned(const resonance::assignment_view& assignments, const resonance::prune::outputs& out) {
  return resonance::prune::host_prune(resonance::serial_executor{}, resonance::prune::position{},
                                      resonance::prune::fixed{}, assignments, {}, out, {});
}

int main() {}

// SPDX-License-Identifier: Apache-2.0
// expect: the second argument must be a choice rule
#include <resonance/resonance.hpp>

resonance::status pruned(const resonance::assignment_view& choices, const resonance::prune::choice_outputs& out) {
  return resonance::prune::host_prune_choices(resonance::serial_executor{}, resonance::prune::factor{}, choices,
                                              nullptr, {}, out);
}

int main() {}

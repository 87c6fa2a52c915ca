// SPDX-License-Identifier: Apache-2.0
// expect: the second argument must be a merge policy
#include <resonance/resonance.hpp>

resonance::status merged(const resonance::assignment_view& choices, const resonance::assignment_buffers& out) {
  return resonance::merge::host_merge(resonance::serial_executor{}, resonance::prune::fixed{}, choices, {}, out, {});
}

int main() {}

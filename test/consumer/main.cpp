// SPDX-License-Identifier: Apache-2.0
// What every consumer project builds.
#include <resonance/resonance.hpp>

#include <cstdio>

#if defined(RESONANCE_WRAP_NAMESPACE)
// Refused by the compiler if any header left something in ::resonance.
namespace resonance = RESONANCE_WRAP_NAMESPACE::resonance;
#endif

int main() {
  const resonance::status outcome;
  std::printf("resonance %d.%d.%d: %s\n", RESONANCE_VERSION_MAJOR, RESONANCE_VERSION_MINOR, RESONANCE_VERSION_PATCH,
              outcome.message());
  return outcome.ok() ? 0 : 1;
}

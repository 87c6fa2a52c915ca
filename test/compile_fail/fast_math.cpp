// SPDX-License-Identifier: Apache-2.0
// expect: ffast-math breaks the contract
// The option's own macro stands in for the option, which this test does not pass.
#define __FAST_MATH__ 1
#include <resonance/resonance.hpp>

int main() {}

// SPDX-License-Identifier: Apache-2.0
// expect: success
#include <resonance/resonance.hpp>

static_assert(resonance::status{}.ok(), "the headers are found and a default status is ok");

int main() {}

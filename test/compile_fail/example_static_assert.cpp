// SPDX-License-Identifier: Apache-2.0
// expect: a null pointer is not a success
#include <resonance/resonance.hpp>

static_assert(resonance::status{resonance::status_code::null_pointer, "hidden"}.ok(),
              "a null pointer is not a success");

int main() {}

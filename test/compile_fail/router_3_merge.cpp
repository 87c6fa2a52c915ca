// SPDX-License-Identifier: Apache-2.0
// expect: router's 3rd argument must be a merge policy
#include <resonance/resonance.hpp>

using namespace resonance;
router<affinity::dot, token_choice::top_k, prune::fixed, merge::restricted>::options options;

int main() {}

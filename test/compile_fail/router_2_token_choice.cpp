// SPDX-License-Identifier: Apache-2.0
// expect: router's 2nd argument must be a token choice policy
#include <resonance/resonance.hpp>

using namespace resonance;
router<affinity::dot, merge::restricted, token_choice::top_k, prune::fixed>::options options;

int main() {}

// SPDX-License-Identifier: Apache-2.0
// expect: router's 4th argument must be a capacity rule
#include <resonance/resonance.hpp>

using namespace resonance;
router<affinity::dot, token_choice::top_k, merge::restricted, affinity::softmax, prune::fixed>::options options;

int main() {}

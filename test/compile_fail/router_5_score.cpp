// SPDX-License-Identifier: Apache-2.0
// expect: router's 5th argument must be a score function
#include <resonance/resonance.hpp>

using namespace resonance;
router<affinity::dot, token_choice::top_k, merge::restricted, prune::fixed, prune::position, affinity::softmax>::options
    options;

int main() {}

// SPDX-License-Identifier: Apache-2.0
// expect: router's 6th argument must be a drop order
#include <resonance/resonance.hpp>

using namespace resonance;
router<affinity::dot, token_choice::top_k, merge::restricted, prune::fixed, affinity::softmax,
       affinity::softmax>::options options;

int main() {}

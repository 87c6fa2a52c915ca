// SPDX-License-Identifier: Apache-2.0
// expect: router's 1st argument must be a metric
#include <resonance/resonance.hpp>

using namespace resonance;
router<token_choice::top_k, affinity::dot, merge::restricted, prune::fixed>::options options;

int main() {}

// SPDX-License-Identifier: Apache-2.0
// expect: a plan's index type must be int32_t or int64_t
#include <resonance/plan/plan.hpp>

#include <cstdint>

resonance::plan::outputs<std::int16_t> outputs;

int main() {}

// SPDX-License-Identifier: Apache-2.0
// From the names and values of the command line to the library's policies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "resonance_route/options.hpp"

namespace route_cli {

//! Options that mean something only together. "" or nothing = not given.
struct texts {
  std::string router, pruned_choices;
  std::string metric, score = "softmax", merge = "restricted", capacity = "unlimited", drop = "affinity";
  std::string group_score = "sum2", missing = "minus-one";
  float temperature = 1.0f, logit_cap = 0.0f;
  std::int32_t groups = 0, top_groups = 0;
  std::optional<double> top_p, capacity_factor;
  std::optional<float> above;
  std::optional<std::int32_t> top_k;
  std::int64_t capacity_floor = -1;
};

//! Fills o's policies. Throws failure where options contradict each other or one lacks another.
void choose_policies(const texts& t, options& o);

}  // namespace route_cli

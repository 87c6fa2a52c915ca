// SPDX-License-Identifier: Apache-2.0
// Part (a): layer 2 as the model computes it, compared with what the model answered.
#pragma once

#include <cstdint>

#include <resonance/core/executor_threads.hpp>

#include "recording.hpp"

namespace demo {

struct model_layer_result {
  std::int64_t equal_ids = 0;
  std::int64_t ids = 0;
  double weight_error = 0;  // largest absolute
  double output_error = 0;  // largest absolute
  double route_seconds = 0, permute_seconds = 0, experts_seconds = 0, unpermute_seconds = 0;

  static constexpr double most_weight_error = 1e-5;
  static constexpr double most_output_error = 2e-3;
  bool reproduced() const {
    return equal_ids == ids && weight_error <= most_weight_error && output_error <= most_output_error;
  }
};

model_layer_result run_model_layer(const recording& data, const resonance::thread_pool& pool);

}  // namespace demo

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Choices of K experts per token, evenly spread, in device memory.
#ifndef RESONANCE_BENCH_CUDA_ASSIGNMENTS_CUH
#define RESONANCE_BENCH_CUDA_ASSIGNMENTS_CUH

#include <resonance/core/views.hpp>

#include "harness.cuh"

namespace bench {

class random_assignments {
 public:
  explicit random_assignments(const shape& s) : ids_(ids_of(s)), affinity_(s.slots()), weights_(s.slots()) {
    fill(affinity_, s.slots(), 3);
    fill(weights_, s.slots(), 4);
    view_ = resonance::as_assignments({ids_.data(), weights_.data(), affinity_.data()}, s.tokens, s.experts, s.top_k);
  }
  const resonance::assignment_view& view() const { return view_; }

 private:
  //! Distinct experts per token: K neighbours from a random one on.
  static std::vector<std::int32_t> ids_of(const shape& s) {
    std::vector<std::int32_t> ids;
    std::uint64_t state = 5;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const auto first = static_cast<std::int64_t>(state >> 33);
      for (std::int32_t k = 0; k < s.top_k; ++k) ids.push_back(static_cast<std::int32_t>((first + k) % s.experts));
    }
    return ids;
  }

  device_array<std::int32_t> ids_;
  device_array<float> affinity_, weights_;
  resonance::assignment_view view_;
};

}  // namespace bench

#endif

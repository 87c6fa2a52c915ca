// SPDX-License-Identifier: Apache-2.0
//! \file
//! Random assignments and the plan that the host makes of them: what the smoke programs of the row moves start from.
#ifndef RESONANCE_TEST_CUDA_SMOKE_PLANNED_HPP
#define RESONANCE_TEST_CUDA_SMOKE_PLANNED_HPP

#include <resonance/core/executor.hpp>
#include <resonance/permute/row_plan.hpp>
#include <resonance/plan/host_plan.hpp>

#include "support.hpp"

namespace smoke {

namespace permute = resonance::permute;
namespace plan = resonance::plan;

//! Random assignments and their plan, as the row moves read it, on the host.
struct planned {
  std::vector<std::int32_t> ids, offsets, sorted, inverse;
  std::vector<float> weights;
  permute::row_plan<std::int32_t> view;

  planned(generator& numbers, const shape& shape)
      : ids(static_cast<std::size_t>(shape.tokens * shape.top_k)),
        offsets(static_cast<std::size_t>(shape.experts) + 1),
        inverse(ids.size()),
        weights(random_values(numbers, shape.tokens * shape.top_k)) {
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1;
    resonance::assignment_view& assignments = view.assignments;
    assignments.tokens = shape.tokens;
    assignments.experts = shape.experts;
    assignments.slots_per_token = shape.top_k;
    assignments.ids = ids.data();
    assignments.weights = weights.data();

    plan::options options;
    options.tile_tokens = 4;
    sorted.resize(static_cast<std::size_t>(plan::max_rows(assignments.slots(), shape.experts, options)));
    std::int64_t num_rows[2];
    plan::outputs<std::int32_t> out;
    out.expert_offsets = offsets.data();
    out.sorted_token_ids = sorted.data();
    out.inverse = inverse.data();
    out.num_rows = num_rows;
    const resonance::serial_executor executor;
    std::vector<unsigned char> memory(plan::host_plan_workspace_bytes(executor, assignments, options));
    require(
        plan::host_plan(executor, assignments, options, out, resonance::workspace_view{memory.data(), memory.size()}),
        "host_plan");
    view.sorted_token_ids = sorted.data();
    view.inverse = inverse.data();
    view.num_rows = num_rows[0];
  }
};

//! The same arrays in device memory.
class device_planned {
 public:
  explicit device_planned(const planned& host)
      : ids_(host.ids), sorted_(host.sorted), inverse_(host.inverse), weights_(host.weights), view_(host.view) {
    view_.assignments.ids = ids_.data();
    view_.assignments.weights = weights_.data();
    view_.sorted_token_ids = sorted_.data();
    view_.inverse = inverse_.data();
  }
  const permute::row_plan<std::int32_t>& view() const { return view_; }

 private:
  device_array<std::int32_t> ids_, sorted_, inverse_;
  device_array<float> weights_;
  permute::row_plan<std::int32_t> view_;
};

}  // namespace smoke

#endif

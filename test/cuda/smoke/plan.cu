// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-plan T E K: the plan of random assignments, some of them unassigned, with rows by slot and by affinity.
#include <resonance/core/executor.hpp>
#include <resonance/plan/device_plan.cuh>
#include <resonance/plan/host_plan.hpp>

#include "support.hpp"

namespace {

namespace plan = resonance::plan;

//! A plan's outputs, in the arrays of the host or of the device.
template <class Array>
struct plan_arrays {
  Array counts, offsets, sorted, inverse;

  plan_arrays(std::int32_t experts, std::int64_t rows, std::int64_t slots)
      : counts(static_cast<std::size_t>(experts)),
        offsets(static_cast<std::size_t>(experts) + 1),
        sorted(static_cast<std::size_t>(rows)),
        inverse(static_cast<std::size_t>(slots)) {}

  template <class NumRows>
  plan::outputs<std::int32_t> outputs(NumRows& num_rows) {
    plan::outputs<std::int32_t> out;
    out.tokens_per_expert = counts.data();
    out.expert_offsets = offsets.data();
    out.sorted_token_ids = sorted.data();
    out.inverse = inverse.data();
    out.num_rows = num_rows.data();
    return out;
  }
};

void compare_plans(smoke::comparison& comparison, const resonance::assignment_view& on_host,
                   const resonance::assignment_view& on_device, const plan::options& options) {
  const resonance::serial_executor executor;
  const std::int64_t rows = plan::max_rows(on_host.slots(), on_host.experts, options);
  plan_arrays<std::vector<std::int32_t>> expected(on_host.experts, rows, on_host.slots());
  std::vector<std::int64_t> expected_rows(2);
  std::vector<unsigned char> memory(plan::host_plan_workspace_bytes(executor, on_host, options));
  smoke::require(plan::host_plan(executor, on_host, options, expected.outputs(expected_rows),
                                 resonance::workspace_view{memory.data(), memory.size()}),
                 "host_plan");

  plan_arrays<smoke::device_array<std::int32_t>> found(on_host.experts, rows, on_host.slots());
  smoke::device_array<std::int64_t> found_rows(2);
  const std::size_t bytes = plan::device_plan_workspace_bytes<std::int32_t>(on_device, options);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_plan", [&](const resonance::device_stream& on) {
    return plan::device_plan(on, on_device, options, found.outputs(found_rows), {workspace.data(), bytes});
  });
  comparison.same("num_rows", expected_rows, found_rows.to_host());
  comparison.same("tokens_per_expert", expected.counts, found.counts.to_host());
  comparison.same("expert_offsets", expected.offsets, found.offsets.to_host());
  comparison.same("sorted_token_ids", expected.sorted, found.sorted.to_host(),
                  static_cast<std::size_t>(expected_rows[0]));
  comparison.same("inverse", expected.inverse, found.inverse.to_host());
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {40, 72, 4, 0});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1, "E and K are 1 at least");
  smoke::generator numbers;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(shape.tokens * shape.top_k));
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1;
  const std::vector<float> affinity = smoke::random_values(numbers, shape.tokens * shape.top_k);
  const smoke::device_array<std::int32_t> device_ids(ids);
  const smoke::device_array<float> device_affinity(affinity);

  resonance::assignment_view on_host;
  on_host.tokens = shape.tokens;
  on_host.experts = shape.experts;
  on_host.slots_per_token = shape.top_k;
  resonance::assignment_view on_device = on_host;
  on_host.ids = ids.data();
  on_host.affinity = affinity.data();
  on_device.ids = device_ids.data();
  on_device.affinity = device_affinity.data();

  smoke::comparison comparison("plan");
  plan::options options;
  compare_plans(comparison, on_host, on_device, options);
  options.tile_tokens = 16;
  compare_plans(comparison, on_host, on_device, options);
  options.by_affinity = true;
  compare_plans(comparison, on_host, on_device, options);
  return comparison.finish();
}

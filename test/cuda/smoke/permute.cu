// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-permute T E K H: rows to their experts and back, by a plan that the host made.
#include <resonance/core/executor.hpp>
#include <resonance/permute/device_permute.cuh>
#include <resonance/permute/device_unpermute.cuh>
#include <resonance/permute/host_permute.hpp>
#include <resonance/permute/host_unpermute.hpp>
#include <resonance/plan/host_plan.hpp>

#include "support.hpp"

namespace {

namespace permute = resonance::permute;
namespace plan = resonance::plan;

//! Random assignments and their plan, as the row moves read it, on the host.
struct planned {
  std::vector<std::int32_t> ids, offsets, sorted, inverse;
  std::vector<float> weights;
  permute::row_plan<std::int32_t> view;

  planned(smoke::generator& numbers, const smoke::shape& shape)
      : ids(static_cast<std::size_t>(shape.tokens * shape.top_k)),
        offsets(static_cast<std::size_t>(shape.experts) + 1),
        inverse(ids.size()),
        weights(smoke::random_values(numbers, shape.tokens * shape.top_k)) {
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
    smoke::require(
        plan::host_plan(executor, assignments, options, out, resonance::workspace_view{memory.data(), memory.size()}),
        "host_plan");
    view.sorted_token_ids = sorted.data();
    view.inverse = inverse.data();
    view.num_rows = num_rows[0];
  }
};

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {24, 72, 4, 136});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1, "E and K are 1 at least");
  smoke::generator numbers;
  const planned on_host(numbers, shape);
  const std::int64_t rows = on_host.view.num_rows;
  std::vector<float> x = smoke::random_values(numbers, shape.tokens * shape.hidden);
  std::vector<float> permuted(static_cast<std::size_t>(rows * shape.hidden));
  std::vector<float> y(x.size());
  const resonance::serial_executor executor;
  const auto matrix = [&](float* data, std::int64_t height) {
    return resonance::matrix_view<float>(data, height, shape.hidden);
  };
  smoke::require(
      permute::host_permute(executor, matrix(x.data(), shape.tokens), on_host.view, matrix(permuted.data(), rows)),
      "host_permute");
  smoke::require(
      permute::host_unpermute(executor, matrix(permuted.data(), rows), on_host.view, matrix(y.data(), shape.tokens)),
      "host_unpermute");

  const smoke::device_array<float> device_x(x);
  const smoke::device_array<float> device_permuted(permuted.size());
  const smoke::device_array<float> device_y(y.size());
  const smoke::device_array<float> weights(on_host.weights);
  const smoke::device_array<std::int32_t> ids(on_host.ids);
  const smoke::device_array<std::int32_t> sorted(on_host.sorted);
  const smoke::device_array<std::int32_t> inverse(on_host.inverse);
  permute::row_plan<std::int32_t> on_device = on_host.view;
  on_device.assignments.ids = ids.data();
  on_device.assignments.weights = weights.data();
  on_device.sorted_token_ids = sorted.data();
  on_device.inverse = inverse.data();
  const resonance::device_stream stream;
  smoke::require(permute::device_permute(stream, matrix(device_x.data(), shape.tokens), on_device,
                                         matrix(device_permuted.data(), rows)),
                 "device_permute");
  smoke::require(permute::device_unpermute(stream, matrix(device_permuted.data(), rows), on_device,
                                           matrix(device_y.data(), shape.tokens)),
                 "device_unpermute");
  smoke::comparison comparison("permute");
  comparison.synchronize();
  comparison.same("permuted", permuted, device_permuted.to_host());
  comparison.same("y", y, device_y.to_host());
  return comparison.finish();
}

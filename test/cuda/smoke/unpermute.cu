// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-unpermute T E K H: the experts' rows back to their tokens, by a plan that the host made.
#include <resonance/core/executor.hpp>
#include <resonance/permute/device_unpermute.cuh>
#include <resonance/permute/host_unpermute.hpp>

#include "planned.hpp"
#include "support.hpp"

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {24, 72, 4, 136});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1, "E and K are 1 at least");
  smoke::generator numbers;
  const smoke::planned on_host(numbers, shape);
  const smoke::device_planned on_device(on_host);
  const std::int64_t rows = on_host.view.num_rows;
  const resonance::serial_executor executor;
  const std::vector<float> outputs = smoke::random_values(numbers, rows * shape.hidden);
  std::vector<float> expected(static_cast<std::size_t>(shape.tokens * shape.hidden));
  const auto rows_of = [&](const float* data) { return resonance::matrix_view<const float>(data, rows, shape.hidden); };
  const auto tokens_of = [&](float* data) { return resonance::matrix_view<float>(data, shape.tokens, shape.hidden); };
  smoke::require(
      smoke::permute::host_unpermute(executor, rows_of(outputs.data()), on_host.view, tokens_of(expected.data())),
      "host_unpermute");

  const smoke::device_array<float> device_outputs(outputs);
  const smoke::device_array<float> y(expected.size());
  smoke::comparison comparison("unpermute");
  comparison.run("device_unpermute", [&](const resonance::device_stream& on) {
    return smoke::permute::device_unpermute(on, rows_of(device_outputs.data()), on_device.view(), tokens_of(y.data()));
  });
  comparison.same("y", expected, y.to_host());
  return comparison.finish();
}

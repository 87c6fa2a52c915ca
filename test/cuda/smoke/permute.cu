// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-permute T E K H: the rows of tokens to their experts, by a plan that the host made.
#include <resonance/core/executor.hpp>
#include <resonance/permute/device_permute.cuh>
#include <resonance/permute/host_permute.hpp>

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
  const std::vector<float> x = smoke::random_values(numbers, shape.tokens * shape.hidden);
  std::vector<float> expected(static_cast<std::size_t>(rows * shape.hidden));
  const auto tokens_of = [&](const float* data) {
    return resonance::matrix_view<const float>(data, shape.tokens, shape.hidden);
  };
  const auto rows_of = [&](float* data) { return resonance::matrix_view<float>(data, rows, shape.hidden); };
  smoke::require(smoke::permute::host_permute(executor, tokens_of(x.data()), on_host.view, rows_of(expected.data())),
                 "host_permute");

  const smoke::device_array<float> device_x(x);
  const smoke::device_array<float> permuted(expected.size());
  smoke::comparison comparison("permute");
  comparison.run("device_permute", [&](const resonance::device_stream& on) {
    return smoke::permute::device_permute(on, tokens_of(device_x.data()), on_device.view(), rows_of(permuted.data()));
  });
  comparison.same("permuted", expected, permuted.to_host());
  return comparison.finish();
}

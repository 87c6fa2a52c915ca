// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-unpermute T E K H: the experts' rows back to their tokens, by a plan that the host made; then again with
// experts that have no rows.
#include <resonance/core/executor.hpp>
#include <resonance/permute/device_unpermute.cuh>
#include <resonance/permute/host_unpermute.hpp>

#include "planned.hpp"
#include "support.hpp"

namespace {

//! One expert in four adds nothing, one the token itself, one a constant, one has its rows.
std::vector<std::int32_t> mixed_experts(std::int32_t experts) {
  namespace in_place = smoke::permute::in_place;
  const std::int32_t entries[] = {0, in_place::copy, in_place::constant(1), in_place::zero};
  std::vector<std::int32_t> map;
  for (std::int32_t e = 0; e < experts; ++e) map.push_back(e % 4 == 0 ? e : entries[e % 4]);
  return map;
}

}  // namespace

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

  const std::vector<std::int32_t> map = mixed_experts(shape.experts);
  const std::vector<float> x = smoke::random_values(numbers, shape.tokens * shape.hidden);
  const std::vector<float> constants = smoke::random_values(numbers, 2 * shape.hidden);
  const std::vector<float> mixing = smoke::random_values(numbers, shape.tokens * 4);
  const auto experts_of = [&](const std::int32_t* entries, const float* inputs, const float* vectors,
                              const float* logits) {
    return smoke::permute::in_place_experts<float>{
        entries, {inputs, shape.tokens, shape.hidden}, {vectors, 2, shape.hidden}, {logits, shape.tokens, 4}};
  };
  smoke::require(smoke::permute::host_unpermute(executor, rows_of(outputs.data()), on_host.view,
                                                experts_of(map.data(), x.data(), constants.data(), mixing.data()),
                                                tokens_of(expected.data())),
                 "host_unpermute with experts in place");
  const smoke::device_array<std::int32_t> device_map(map);
  const smoke::device_array<float> device_x(x), device_constants(constants), device_mixing(mixing);
  comparison.run("device_unpermute with experts in place", [&](const resonance::device_stream& on) {
    return smoke::permute::device_unpermute(
        on, rows_of(device_outputs.data()), on_device.view(),
        experts_of(device_map.data(), device_x.data(), device_constants.data(), device_mixing.data()),
        tokens_of(y.data()));
  });
  comparison.same("y with experts in place", expected, y.to_host());
  return comparison.finish();
}

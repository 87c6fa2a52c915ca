// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-vector-io T E K H: T rows of H columns are read in packets, doubled and written, and warps take their
// maxima; E and K are not used.
#include "support.hpp"

#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

namespace {

//! One warp per row: the row goes through shared memory, its scaled copy to `copies`, its largest element to `largest`.
__global__ void __launch_bounds__(32)
    copy_rows(resonance::matrix_view<const float> rows, resonance::matrix_view<float> copies, float* largest) {
  RESONANCE_DYNAMIC_SHARED(shared);
  float* row = reinterpret_cast<float*>(shared);
  const resonance::warp_team team;
  resonance::load_row(team, rows.row(resonance::block_index()), rows.cols,
                      [row](std::int64_t j, float value) { row[j] = value; });
  team.sync();
  float best = row[0];
  for (std::int64_t j = team.rank(); j < rows.cols; j += team.size()) {
    best = row[j] > best ? row[j] : best;
    resonance::store(copies.row(resonance::block_index()) + j, 2.0f * row[j]);
  }
  best = team.max(best);
  if (team.rank() == 0) resonance::store(largest + resonance::block_index(), best);
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {5, 1, 1, 37});
  smoke::require(shape.hidden >= 1 && shape.hidden <= 4096, "1 <= H <= 4096");
  smoke::generator numbers;
  const std::vector<float> rows = smoke::random_values(numbers, shape.tokens * shape.hidden);
  std::vector<float> copies(rows.size());
  std::vector<float> largest(static_cast<std::size_t>(shape.tokens), -8.0f);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    float& best = largest[i / static_cast<std::size_t>(shape.hidden)];
    copies[i] = 2.0f * rows[i];
    best = rows[i] > best ? rows[i] : best;
  }

  const smoke::device_array<float> device_rows(rows);
  const smoke::device_array<float> device_copies(copies.size());
  const smoke::device_array<float> device_largest(largest.size());
  smoke::comparison comparison("vector_io");
  const resonance::matrix_view<const float> source(device_rows.data(), shape.tokens, shape.hidden);
  const resonance::matrix_view<float> target(device_copies.data(), shape.tokens, shape.hidden);
  comparison.run("copy_rows", [&](const resonance::device_stream& on) {
    const auto shared = static_cast<std::size_t>(shape.hidden) * sizeof(float);
    return resonance::detail::launch(on, {shape.tokens, 32, shared}, copy_rows, source, target, device_largest.data());
  });
  comparison.same("copies", copies, device_copies.to_host());
  comparison.same("largest", largest, device_largest.to_host());
  return comparison.finish();
}

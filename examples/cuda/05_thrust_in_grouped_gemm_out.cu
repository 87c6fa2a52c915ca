// SPDX-License-Identifier: Apache-2.0
// Thrust vectors in, the problem sizes of a grouped GEMM out: raw pointers are all that the library asks for.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <resonance/permute/device_permute.cuh>
#include <resonance/plan/device_plan.cuh>
#include <resonance/resonance.hpp>

#include "support.hpp"

#if defined(RESONANCE_SIMT)  // no Thrust there: device memory is the host's
namespace vectors = std;
template <class T>
using device_vector = std::vector<T>;
template <class T>
T* raw(device_vector<T>& v) {
  return v.data();
}
#else
#include <thrust/copy.h>
#include <thrust/device_vector.h>
namespace vectors = thrust;
using thrust::device_vector;
template <class T>
T* raw(device_vector<T>& v) {
  return thrust::raw_pointer_cast(v.data());
}
#endif

namespace rs = resonance;

//! One GEMM of the group: rows [first_row, first_row + m) of the permuted matrix times the expert's weights [k,n].
struct gemm {
  std::int64_t first_row, m, k;
};

int main() {
  constexpr std::int64_t tokens = 60;
  constexpr std::int64_t hidden = 24;
  constexpr std::int32_t experts = 5;
  constexpr std::int32_t top_k = 2;
  std::mt19937 random(5);
  std::vector<std::int32_t> chosen(tokens * top_k);
  for (std::size_t slot = 0; slot < chosen.size(); slot += top_k) {
    chosen[slot] = static_cast<std::int32_t>(random() % experts);
    chosen[slot + 1] = static_cast<std::int32_t>((static_cast<unsigned>(chosen[slot]) + 1) % experts);
  }
  std::vector<float> x(tokens * hidden);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);

  device_vector<std::int32_t> ids(chosen.begin(), chosen.end());
  device_vector<float> rows(x.begin(), x.end());
  rs::choice_buffers choice;
  choice.topk_ids = raw(ids);
  const rs::assignment_view assignments = rs::as_assignments(choice, tokens, experts, top_k);

  // The plan: every expert's rows start at a multiple of 8, as the tiles of the GEMM want them.
  rs::plan::options options;
  options.tile_tokens = 8;
  const std::int64_t most_rows = rs::plan::max_rows(assignments.slots(), experts, options);
  device_vector<std::int32_t> counts(experts), offsets(experts + 1);
  const example::device_array<std::int32_t> sorted(static_cast<std::size_t>(most_rows)), inverse(chosen.size());
  const example::device_array<std::int64_t> num_rows(2);
  const example::device_array<char> workspace(
      rs::plan::device_plan_workspace_bytes<std::int32_t>(assignments, options));
  const rs::plan::outputs<> plan{raw(counts), raw(offsets), sorted.data(), inverse.data(), nullptr, num_rows.data()};
  const rs::device_stream on;
  example::must(rs::plan::device_plan(on, assignments, options, plan, {workspace.data(), workspace.size()}));

  // The rows, side by side; padding is zeroed.
  example::wait();
  const std::int64_t present = num_rows.to_host()[0];
  const example::device_array<float> permuted(static_cast<std::size_t>(present * hidden));
  const rs::permute::row_plan<> moves{assignments, sorted.data(), inverse.data(), present};
  example::must(rs::permute::device_permute(on, rs::matrix_view<const float>(raw(rows), tokens, hidden), moves,
                                            rs::matrix_view<float>(permuted.data(), present, hidden)));
  example::wait();

  std::vector<gemm> group;
  std::vector<std::int32_t> first_row(offsets.size()), row_count(counts.size());
  vectors::copy(offsets.begin(), offsets.end(), first_row.begin());
  vectors::copy(counts.begin(), counts.end(), row_count.begin());
  for (std::size_t e = 0; e < experts; ++e) group.push_back({first_row[e], row_count[e], hidden});

  // Each problem holds the rows of its expert's tokens in their order, and starts at a whole tile.
  bool right = true;
  const std::vector<float> moved = permuted.to_host();
  for (std::size_t e = 0; e < experts; ++e) {
    std::int64_t row = group[e].first_row;
    right = right && row % options.tile_tokens == 0;
    for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
      if (chosen[slot] != static_cast<std::int32_t>(e)) continue;
      const auto from = x.begin() + static_cast<std::ptrdiff_t>(slot / top_k * hidden);
      right = right && std::equal(from, from + hidden, moved.begin() + static_cast<std::ptrdiff_t>(row++ * hidden));
    }
    right = right && row - group[e].first_row == group[e].m;
  }
  return example::finish(right);
}

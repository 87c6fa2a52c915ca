// SPDX-License-Identifier: Apache-2.0
// Plan, permute and unpermute of bf16 rows.
#include <resonance/permute/device_permute.cuh>
#include <resonance/permute/device_unpermute.cuh>
#include <resonance/plan/device_plan.cuh>

#include "assignments.cuh"
#include "harness.cuh"

namespace bench {

namespace rs = resonance;

void time_rows(const card& of, const stage_timer& timer, const shape& s) {
  const random_assignments choices(s);
  const auto slots = static_cast<double>(s.slots());
  const rs::plan::options o;
  const device_array<std::int32_t> counts(s.experts), offsets(s.experts + 1), sorted(s.slots()), inverse(s.slots());
  const device_array<std::int64_t> num_rows(2);
  rs::plan::outputs<> out{counts.data(), offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows.data()};
  const std::size_t bytes = rs::plan::device_plan_workspace_bytes<std::int32_t>(choices.view(), o);
  const device_array<char> workspace(static_cast<std::int64_t>(bytes));
  print_timing(of, "plan", s, 12.0 * slots + 4.0 * (s.experts + 1), timer.time([&](cudaStream_t stream) {
    rs::device_stream on;
    on.stream = stream;
    return rs::plan::device_plan(on, choices.view(), o, out, {workspace.data(), bytes});
  }));

  const rs::permute::row_plan<> plan{choices.view(), sorted.data(), inverse.data(), s.slots()};
  const device_array<rs::bfloat16> x(s.tokens * s.hidden), permuted(s.slots() * s.hidden), y(s.tokens * s.hidden);
  fill(x, s.tokens * s.hidden, 6);
  const rs::matrix_view<rs::bfloat16> rows(permuted.data(), s.slots(), s.hidden);
  const double row_bytes = 2.0 * static_cast<double>(s.tokens) * static_cast<double>(s.hidden) * (1.0 + s.top_k);
  print_timing(of, "permute, bf16", s, row_bytes + 4.0 * slots, timer.time([&](cudaStream_t stream) {
    rs::device_stream on;
    on.stream = stream;
    return rs::permute::device_permute(on, rs::matrix_view<const rs::bfloat16>(x.data(), s.tokens, s.hidden), plan,
                                       rows);
  }));
  print_timing(of, "unpermute, bf16", s, row_bytes + 8.0 * slots, timer.time([&](cudaStream_t stream) {
    rs::device_stream on;
    on.stream = stream;
    return rs::permute::device_unpermute(on, rs::matrix_view<const rs::bfloat16>(rows), plan,
                                         rs::matrix_view<rs::bfloat16>(y.data(), s.tokens, s.hidden));
  }));
}

}  // namespace bench

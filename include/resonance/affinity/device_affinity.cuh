// SPDX-License-Identifier: Apache-2.0
//! \file
//! Dense affinities and dense scores on the device.
#ifndef RESONANCE_AFFINITY_DEVICE_AFFINITY_CUH
#define RESONANCE_AFFINITY_DEVICE_AFFINITY_CUH

#include <resonance/affinity/input.hpp>
#include <resonance/affinity/kernel_affinity.cuh>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! How many warps share a block, and where their rows lie.
template <class Source>
struct affinity_layout {
  std::int64_t warps = affinity_threads / warp_size;
  std::int64_t blocks;
  std::int64_t row_bytes;  //!< per warp
  bool in_shared;

  explicit affinity_layout(const Source& source) : row_bytes(std::int64_t{Source::block} * source.experts() * 4) {
    const std::int64_t scratch_bytes = std::int64_t{Source::scratch_floats} * 4;
    const auto room = static_cast<std::int64_t>(shared_bytes_per_block);
    in_shared = scratch_bytes + row_bytes <= room;
    while (in_shared && warps * (scratch_bytes + row_bytes) > room) warps /= 2;
    const std::int64_t turns = divide_up(source.tokens(), warps * Source::block);
    const std::int64_t most = in_shared ? most_blocks : 1024;
    blocks = turns < most ? turns : most;
    shared_bytes = static_cast<std::size_t>(warps * (scratch_bytes + (in_shared ? row_bytes : 0)));
  }
  std::size_t shared_bytes;
  std::int64_t workspace_floats() const { return in_shared ? 0 : blocks * warps * row_bytes / 4; }
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace affinity {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_affinity needs: none up to some 3000 experts; beyond, 16 E per warp at most.
template <class Metric, class Input>
std::size_t device_affinity_workspace_bytes(const Metric& metric, const Input& input) {
  const warp_source<Metric, Input> source(metric, input);
  if (!source.check().ok()) return 0;
  detail::workspace_carver counter;
  counter.take<float>(detail::affinity_layout<warp_source<Metric, Input>>(source).workspace_floats());
  return counter.bytes();
}

//! Scores every (token, expert) pair with a metric, before any score function.
//!
//! Equation   see the metric; sums in the order of ordered_sum.hpp, fused multiply-add, correctly rounded sqrt and /
//! Inputs     as host_affinity, in device memory
//! Outputs    affinity float[T,E] strided; +inf is written as the largest finite value of the logits' type
//! Contract   the host's bits
//! Errors     as host_affinity; launch_failed
//! Resources  1 launch; device_affinity_workspace_bytes; no allocation, no synchronization, capturable
//! Cost       slices: T*H reads, T*E writes; gate: T*E*H multiply-adds without tensor cores (bring logits from a GEMM)
//! Example    test/simt/affinity/device_affinity_test.cpp
template <class Metric, class Input>
status device_affinity(const device_stream& on, const Metric& metric, const Input& input, matrix_view<float> affinity,
                       workspace_view workspace) {
  using source_type = warp_source<Metric, Input>;
  const source_type source(metric, input);
  detail::checks c;
  c.also(source.check());
  c.also(detail::check_matrix(affinity, "affinity"));
  if (!c.result().ok()) return c.result();
  c.matches(affinity.rows == source.tokens() && affinity.cols == source.experts(), "affinity");
  c.also(detail::check_workspace(workspace, device_affinity_workspace_bytes(metric, input)));
  if (!c.result().ok()) return c.result();
  const detail::affinity_layout<source_type> layout(source);
  detail::workspace_carver carver(workspace.data);
  float* memory = layout.in_shared ? nullptr : carver.take<float>(layout.workspace_floats());
  return detail::launch(on, {layout.blocks, static_cast<int>(layout.warps) * warp_size, layout.shared_bytes},
                        detail::kernel_affinity<source_type>, source, affinity, memory, on.num_tokens);
}

//! Applies a score function to every pair.
//!
//! Inputs     affinity float[T,E] strided, in device memory; NaN and -inf mean "absent"; axis: what a softmax runs over
//! Outputs    scores float[T,E] strided, must not overlap `affinity`; an absent pair gets -inf
//! Contract   the bits of host_scores
//! Errors     null_pointer, shape_mismatch (scores), out_of_range (temperature, logit_cap), launch_failed
//! Resources  1 launch; no workspace, no synchronization, capturable
//! Cost       T*E reads and writes; softmaxes read three times, from cache
//! Example    test/simt/affinity/device_affinity_test.cpp
template <class Score>
status device_scores(const device_stream& on, const Score& score, matrix_view<const float> affinity,
                     matrix_view<float> scores, softmax_axis axis = softmax_axis::experts) {
  detail::checks c;
  c.also(detail::check_scores(score, affinity, scores));
  if (!c.result().ok() || affinity.empty()) return c.result();
  const bool by_column = Score::normalized_over == normalizer::row && axis == softmax_axis::tokens;
  detail::score_lines m{affinity.data, scores.data, affinity.rows, affinity.cols, affinity.stride, 1,
                        scores.stride, 1,           by_column};
  if (by_column) {
    m.lines = affinity.cols;
    m.length = affinity.rows;
    m.line_step = m.out_line_step = 1;
    m.step = affinity.stride;
    m.out_step = scores.stride;
  }
  const std::int64_t blocks = detail::divide_up(m.lines, detail::affinity_threads / warp_size);
  return detail::launch(on, {blocks < detail::most_blocks ? blocks : detail::most_blocks, detail::affinity_threads, 0},
                        detail::kernel_scores<Score>, score, m, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

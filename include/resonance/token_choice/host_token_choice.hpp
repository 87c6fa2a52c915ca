// SPDX-License-Identifier: Apache-2.0
//! \file
//! Token choice on the host: every token takes its best experts, straight from a row source.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_TOKEN_CHOICE_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_TOKEN_CHOICE_HPP

#include <cstddef>
#include <cstdint>

#include <resonance/core/executor.hpp>
#include <resonance/core/host_simd.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/token_choice/checks.hpp>
#include <resonance/token_choice/host_row_chooser.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN

namespace detail {

//! The workspace of a token choice: the source's, and one row scratch per worker.
template <class Source>
class token_choice_scratch {
 public:
  token_choice_scratch(Source& source, int workers, void* base)
      : carver_(base), bytes_per_worker_(worker_bytes(source)) {
    source.carve(carver_, workers);
    rows_ = carver_.take<char>(static_cast<std::int64_t>(bytes_per_worker_) * workers);
  }

  std::size_t bytes() const { return carver_.bytes(); }

  token_choice::host_row_scratch of_worker(const Source& source, int worker) const {
    workspace_carver carver(rows_ + bytes_per_worker_ * static_cast<std::size_t>(worker));
    token_choice::host_row_scratch scratch;
    scratch.carve(carver, source.experts(), Source::block);
    return scratch;
  }

 private:
  static std::size_t worker_bytes(const Source& source) {
    workspace_carver counter;
    token_choice::host_row_scratch scratch;
    scratch.carve(counter, source.experts(), Source::block);
    return (counter.bytes() + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
  }

  workspace_carver carver_;
  std::size_t bytes_per_worker_;
  char* rows_ = nullptr;
};

}  // namespace detail

namespace token_choice {

//! Bytes of workspace that host_token_choice needs: the source's, and (4 block + 32) E per worker, plus padding.
template <class Executor, class Source>
std::size_t host_token_choice_workspace_bytes(const Executor& executor, Source source) {
  if (!source.check().ok()) return 0;
  return detail::token_choice_scratch<Source>(source, detail::worker_count(executor), nullptr).bytes();
}

//! Chooses the experts of every token and weighs them, in one pass over a row source.
//!
//! Equation   (E_t1 .. E_tK) = the policy's choice by (score + bias desc, id asc)   ETR Eq. 5
//! Inputs     source: affinity::host_source, or any type with its members (tokens, experts, check, carve,
//!            prepare, rows)
//!            options.correction_bias float[E], nullable: no bias
//! Outputs    topk_ids int32[T,K], best first; topk_weights float[T,K] and topk_affinity float[T,K] (delta), nullable;
//!            affinity float[T,E] strided, nullable (data = null): every delta as selection read it
//!            empty slot: id -1 (or options.missing), weight 0, affinity -inf
//! Contract   SEMANTICS 1: equal scores to the lower id; NaN and -inf never chosen; +inf as the largest finite value;
//!            same bits at any worker count and instruction set
//! Errors     out_of_range (top_k, n_group, topk_group, top_p, ranks, routed_scaling_factor, temperature, logit_cap,
//!            and the source's), null_pointer (topk_ids, ranks, ...), shape_mismatch (affinity), index_overflow,
//!            workspace_too_small
//! Resources  host_token_choice_workspace_bytes; no allocation
//! Cost       the source's reads, O(T*E) work, 12*T*K writes
//! Example    examples/02_stages.cpp
template <class Executor, class Source, class Score, class Selection>
status host_token_choice(const Executor& executor, Source source, const Score& score, const Selection& selection,
                         const options& o, const choice_buffers& out, matrix_view<float> affinity,
                         workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_token_choice(source, score, selection, o, out, affinity));
  if (!c.result().ok()) return c.result();
  const int workers = detail::worker_count(executor);
  c.also(detail::check_workspace(workspace, detail::token_choice_scratch<Source>(source, workers, nullptr).bytes()));
  if (!c.result().ok() || source.tokens() == 0) return c.result();

  const detail::token_choice_scratch<Source> scratch(source, workers, workspace.data);
  source.prepare(executor);
  const host_row_chooser<Score, Selection> chooser(score, selection, o, source.experts(), Source::largest);
  constexpr std::int64_t token_grain = 32;
  detail::for_ranges(executor, source.tokens(), token_grain, [&](std::int64_t begin, std::int64_t end, int piece) {
    const host_row_scratch rows = scratch.of_worker(source, piece);
    detail::run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (std::int64_t first = begin; first < end; first += Source::block) {
        const int count = static_cast<int>(end - first < Source::block ? end - first : Source::block);
        float* deltas = affinity.data != nullptr ? affinity.row(first) : rows.delta;
        const std::int64_t stride = affinity.data != nullptr ? affinity.stride : source.experts();
        source.rows(first, count, piece, deltas, stride);
        for (int i = 0; i < count; ++i) {
          const std::int64_t slot = (first + i) * o.top_k;
          chooser.choose(deltas + i * stride, rows, out.topk_ids + slot,
                         out.topk_weights != nullptr ? out.topk_weights + slot : nullptr,
                         out.topk_affinity != nullptr ? out.topk_affinity + slot : nullptr);
        }
      }
    });
  });
  return {};
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif

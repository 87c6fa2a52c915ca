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
#include <resonance/token_choice/host_batch_chooser.hpp>
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
    scratch.carve(carver, source.experts(), rows);
    return scratch;
  }

 private:
  static constexpr std::int64_t rows = Source::block > batch_tokens ? Source::block : batch_tokens;

  static std::size_t worker_bytes(const Source& source) {
    workspace_carver counter;
    token_choice::host_row_scratch scratch;
    scratch.carve(counter, source.experts(), rows);
    return (counter.bytes() + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
  }

  workspace_carver carver_;
  std::size_t bytes_per_worker_;
  char* rows_ = nullptr;
};

//! One call of host_token_choice, by ranges of tokens.
template <class Source, class Score, class Selection>
class token_chooser {
 public:
  token_chooser(const Source& source, const Score& score, const Selection& selection, const token_choice::options& o,
                const choice_buffers& out, matrix_view<float> affinity)
      : source_(source),
        score_(score),
        selection_(selection),
        options_(o),
        out_(out),
        affinity_(affinity),
        one_row_(score, selection, o, source.experts(), Source::largest) {}

  void choose(std::int64_t begin, std::int64_t end, int piece, const token_choice::host_row_scratch& scratch) const {
#if RESONANCE_DETAIL_AVX512
    if (end - begin > 1 && chooses_batches<Score>(selection_, options_, source_.experts())) {
      for (std::int64_t first = begin; first < end; first += batch_tokens) {
        const int count = static_cast<int>(end - first < batch_tokens ? end - first : batch_tokens);
        for (unsigned left = choose_batch_of(first, count, piece, scratch); left != 0; left &= left - 1) {
          const std::int64_t token = first + __builtin_ctz(left);
          choose_one_by_one(token, token + 1, piece, scratch);
        }
      }
      return;
    }
#endif
    choose_one_by_one(begin, end, piece, scratch);
  }

 private:
  //! The token's slots in the outputs.
  choice_buffers slots_of(std::int64_t token) const {
    const std::int64_t slot = token * options_.top_k;
    const auto from = [slot](float* array) { return array != nullptr ? array + slot : nullptr; };
    return {out_.topk_ids + slot, from(out_.topk_weights), from(out_.topk_affinity)};
  }

  //! Where the deltas of tokens from `first` on are written: the caller's table or scratch.
  matrix_view<float> deltas_from(std::int64_t first, std::int64_t count,
                                 const token_choice::host_row_scratch& scratch) const {
    if (affinity_.data == nullptr) return {scratch.delta, count, source_.experts()};
    return {affinity_.row(first), count, source_.experts(), affinity_.stride};
  }

  void choose_one_by_one(std::int64_t begin, std::int64_t end, int piece,
                         const token_choice::host_row_scratch& scratch) const {
    for (std::int64_t first = begin; first < end; first += Source::block) {
      const int count = static_cast<int>(end - first < Source::block ? end - first : Source::block);
      const matrix_view<float> deltas = deltas_from(first, count, scratch);
      run_widest([&]() RESONANCE_INLINE_LAMBDA { source_.rows(first, count, piece, deltas.data, deltas.stride); });
      run_widest_at_o3([&]() RESONANCE_INLINE_LAMBDA {
        for (int i = 0; i < count; ++i) {
          const choice_buffers out = slots_of(first + i);
          one_row_.choose(deltas.row(i), scratch, out.topk_ids, out.topk_weights, out.topk_affinity);
        }
      });
    }
  }

#if RESONANCE_DETAIL_AVX512
  unsigned choose_batch_of(std::int64_t first, int count, int piece,
                           const token_choice::host_row_scratch& scratch) const {
    const bool by_score = chooses_by_score<Selection>(options_);
    const bool needs_terms =
        Score::normalized_over == normalizer::row && (by_score || token_choice::needs_row_terms<Score>(options_));
    softmax_terms terms[batch_tokens] = {};
    if constexpr (stores_deltas<Source>) {
      if (affinity_.data == nullptr && !needs_terms && !by_score) {
        const auto stored = source_.stored();
        return choose_batch(stored.row(first), stored.stride, count, source_.experts(), score_, options_, terms,
                            slots_of(first));
      }
    }
    const matrix_view<float> deltas = deltas_from(first, count, scratch);
    run_widest([&]() RESONANCE_INLINE_LAMBDA {
      for (int done = 0; done < count; done += Source::block) {
        const int rows = count - done < Source::block ? count - done : Source::block;
        source_.rows(first + done, rows, piece, deltas.row(done), deltas.stride);
      }
      for (int i = 0; i < count; ++i) {
        one_row_.make_choosable(deltas.row(i));
        if (needs_terms) terms[i] = one_row_.terms_of(deltas.row(i), scratch.score + i * source_.experts());
      }
    });
    if (by_score) {
      const matrix_view<const float> rows(deltas.data, count, deltas.cols, deltas.stride);
      return choose_scored_batch(rows, score_, selection_, options_, terms, scratch.score, slots_of(first));
    }
    return choose_batch(static_cast<const float*>(deltas.data), deltas.stride, count, source_.experts(), score_,
                        options_, terms, slots_of(first));
  }
#endif

  const Source& source_;
  Score score_;
  Selection selection_;
  token_choice::options options_;
  choice_buffers out_;
  matrix_view<float> affinity_;
  token_choice::host_row_chooser<Score, Selection> one_row_;
};

}  // namespace detail

namespace token_choice {

//! Bytes of workspace that host_token_choice needs: the source's, and (8 block + 28) E per worker, plus padding; block:
//! 16, or the source's where that is more.
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
//! Errors     out_of_range (top_k, n_group, topk_group, top_p, ranks, above, routed_scaling_factor, temperature,
//!            logit_cap, and the source's), null_pointer (topk_ids, ranks, ...), shape_mismatch (affinity),
//!            index_overflow, workspace_too_small
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
  const detail::token_chooser<Source, Score, Selection> chooser(source, score, selection, o, out, affinity);
  detail::for_ranges(executor, source.tokens(), detail::token_grain(source),
                     [&](std::int64_t begin, std::int64_t end, int piece) {
                       chooser.choose(begin, end, piece, scratch.of_worker(source, piece));
                     });
  return {};
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif

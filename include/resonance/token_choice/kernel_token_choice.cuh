// SPDX-License-Identifier: Apache-2.0
//! \file
//! Token choice kernels: a tile per token where a row fits registers, else a block per token.
#ifndef RESONANCE_TOKEN_CHOICE_KERNEL_TOKEN_CHOICE_CUH
#define RESONANCE_TOKEN_CHOICE_KERNEL_TOKEN_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/token_choice/block_token_choice.cuh>
#include <resonance/token_choice/row_rules.cuh>
#include <resonance/token_choice/warp_token_choice.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Tokens by the tiles of a block: shared memory and the walk over the tokens.
template <class Source, class Chooser>
struct tile_rows {
  using rules_type = typename Chooser::rules_type;
  static constexpr int tile_size = Chooser::tile_type::size();
  static constexpr int tiles_per_warp = warp_size / tile_size;
  static_assert(!Source::whole_warp || tile_size == warp_size, "resonance: this row source is called by whole warps");

  RESONANCE_HOST_DEVICE static std::int64_t row_floats(std::int64_t experts) { return (experts + 3) / 4 * 4; }

  RESONANCE_HOST_DEVICE static std::int64_t tile_words(const rules_type& rules) {
    return Source::block * row_floats(rules.experts) + row_floats(rules.scratch_words());
  }

  //! Shared memory of one warp: its tiles' rows and scratch, and the source's.
  RESONANCE_HOST_DEVICE static std::int64_t warp_words(const rules_type& rules) {
    return row_floats(Source::scratch_floats) + tiles_per_warp * tile_words(rules);
  }

  //! Tokens that a block of `warps` warps takes in one turn.
  RESONANCE_HOST_DEVICE static std::int64_t tokens_per_turn(int warps) {
    return std::int64_t{Source::block} * tiles_per_warp * warps;
  }

  //! Chooses for the tokens [first, first + tokens_per_turn) that are below `tokens`. Called by whole warps; a warp
  //! without a token of its own leaves. `shared`: warp_words words per warp, 16-byte aligned.
  RESONANCE_DEVICE static void choose(const Source& source, const rules_type& rules, std::int64_t first,
                                      std::int64_t tokens, std::uint32_t* shared,
                                      const token_choice::choice_outputs& out) {
    const std::int64_t of_warp = first + tokens_per_turn(1) * warp_id();
    if (of_warp >= tokens) return;
    const int tile = lane_id() / tile_size;
    const std::int64_t stride = row_floats(rules.experts);
    std::uint32_t* words = shared + warp_words(rules) * warp_id();
    auto* source_scratch = reinterpret_cast<float*>(words);
    words += row_floats(Source::scratch_floats) + tile * tile_words(rules);
    auto* rows = reinterpret_cast<float*>(words);
    std::uint32_t* scratch = words + Source::block * stride;

    // A tile past the last token repeats it, so that the warp stays together, and writes nothing.
    const std::int64_t own = of_warp + std::int64_t{Source::block} * tile;
    const bool live = own < tokens;
    const std::int64_t begin = live ? own : tokens - 1;
    const std::int64_t left = tokens - begin;
    const int count = static_cast<int>(left < Source::block ? left : Source::block);
    const typename std::conditional<Source::whole_warp, warp_team, typename Chooser::tile_type>::type team{};
    source.fill(team, begin, count, rows, stride, source_scratch, 0, 1);
    warp_team::sync();
    const Chooser chooser(rules);
    for (int t = 0; t < count; ++t) chooser.choose(begin + t, live, rows + t * stride, scratch, out);
    warp_team::sync();
  }
};

inline constexpr int token_choice_threads = 128;
inline constexpr int row_block_threads = 256;

//! Blocks of tiles that shall fit a multiprocessor: a stated number, since ptxas spills a few words for one more.
//! Sources that take several tokens at a time hold their sums in registers.
constexpr int tile_blocks(int source_block, int deepest) { return deepest <= 8 && source_block == 1 ? 6 : 4; }

template <class Source, class Score, class Selection, int Size, int Deepest>
__global__ void __launch_bounds__(token_choice_threads, tile_blocks(Source::block, Deepest))
    kernel_token_choice(Source source, token_choice::row_rules<Score, Selection> rules,
                        token_choice::choice_outputs out, const std::int64_t* num_tokens) {
  RESONANCE_DYNAMIC_SHARED(shared);
  wait_for_previous_kernel();
  using chooser_type = token_choice::warp_row_chooser<Score, Selection, Size, Deepest>;
  using rows = tile_rows<Source, chooser_type>;
  const std::int64_t tokens = live_tokens(source.tokens(), num_tokens);
  const std::int64_t turn = rows::tokens_per_turn(block_threads() / warp_size);
  for (std::int64_t first = block_index() * turn; first < tokens; first += block_count() * turn)
    rows::choose(source, rules, first, tokens, reinterpret_cast<std::uint32_t*>(shared), out);
}

//! Where a block keeps a row that does not fit registers. Dynamic shared memory holds the selection's scratch, the
//! source's, and, where `memory` is null, the row.
struct long_rows {
  std::int32_t deepest = 0;
  unsigned char* memory = nullptr;  // [blocks][bytes] in global memory
  std::int64_t bytes = 0;           // of a row
};

//! Chooses for every block_count()-th of `tokens` tokens; by a block.
template <class Source, class Score, class Selection>
RESONANCE_DEVICE void choose_by_block(const block_team& team, const Source& source,
                                      const token_choice::row_rules<Score, Selection>& rules, const long_rows& rows,
                                      std::int64_t tokens, unsigned char* shared,
                                      const token_choice::choice_outputs& out) {
  auto& selection = *reinterpret_cast<token_choice::top_k_scratch*>(shared);
  shared += sizeof selection;
  auto* source_scratch = reinterpret_cast<float*>(shared);
  const int warps = block_threads() / warp_size;
  unsigned char* row_memory = rows.memory != nullptr ? rows.memory + block_index() * rows.bytes
                                                     : shared + warps * Source::scratch_floats * sizeof(float);
  const token_choice::block_row_memory row(row_memory, rules.experts, rows.deepest);
  const token_choice::block_row_chooser<Score, Selection> chooser(rules, rows.deepest, team, row, selection);
  for (std::int64_t token = block_index(); token < tokens; token += block_count()) {
    if constexpr (Source::whole_warp) {
      source.fill(warp_team{}, token, 1, row.delta, rules.experts, source_scratch + warp_id() * Source::scratch_floats,
                  warp_id(), warps);
    } else {
      source.fill(team, token, 1, row.delta, rules.experts, source_scratch, 0, 1);
    }
    team.sync();
    chooser.choose(token, out);
  }
}

template <class Source, class Score, class Selection>
__global__ void __launch_bounds__(row_block_threads, 1)
    kernel_token_choice_by_block(Source source, token_choice::row_rules<Score, Selection> rules, long_rows rows,
                                 token_choice::choice_outputs out, const std::int64_t* num_tokens) {
  RESONANCE_DYNAMIC_SHARED(shared);
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_words, block_team::scratch_words);
  wait_for_previous_kernel();
  choose_by_block(block_team(team_words), source, rules, rows, live_tokens(source.tokens(), num_tokens), shared, out);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

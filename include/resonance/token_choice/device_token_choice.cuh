// SPDX-License-Identifier: Apache-2.0
//! \file
//! Token choice on the device: every token takes its best experts, straight from a row source.
#ifndef RESONANCE_TOKEN_CHOICE_DEVICE_TOKEN_CHOICE_CUH
#define RESONANCE_TOKEN_CHOICE_DEVICE_TOKEN_CHOICE_CUH

#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/token_choice/checks.hpp>
#include <resonance/token_choice/kernel_token_choice.cuh>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/selection_values.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <int Value>
using constant = std::integral_constant<int, Value>;

//! The deepest list that stays in registers; beyond, or where a row does not fit a warp's shared memory, a block takes
//! the row.
inline constexpr std::int32_t most_tile_depth = 32;

//! Calls f(tile size, list length) with constants that hold E experts and `deepest` positions.
template <bool WholeWarp, class F>
status with_tile_shape(std::int32_t experts, std::int32_t deepest, const F& f) {
  const auto with_depth = [&](auto size) {
    if (deepest <= 2) return f(size, constant<2>{});
    if (deepest <= 8) return f(size, constant<8>{});
    if (deepest <= 16) return f(size, constant<16>{});
    return f(size, constant<most_tile_depth>{});
  };
  if constexpr (!WholeWarp) {
    if (experts <= 4 * 16) return with_depth(constant<16>{});
  }
  return with_depth(constant<warp_size>{});
}

template <class Source, class Score, class Selection>
bool rows_fit_tiles(const token_choice::row_rules<Score, Selection>& rules, std::int32_t deepest) {
  using chooser = token_choice::warp_row_chooser<Score, Selection, warp_size, most_tile_depth>;
  return deepest <= most_tile_depth &&
         tile_rows<Source, chooser>::warp_words(rules) * 4 <= static_cast<std::int64_t>(shared_bytes_per_block);
}

//! How rows that do not fit registers are laid out, for blocks of `warps` warps.
template <class Source>
struct row_blocks {
  std::int64_t row_bytes;
  std::int64_t blocks;
  std::size_t scratch_bytes;

  row_blocks(std::int64_t tokens, std::int32_t experts, std::int32_t top_k, std::int32_t deepest,
             int warps = row_block_threads / warp_size)
      : row_bytes(token_choice::block_row_memory::bytes(experts, top_k, deepest)),
        blocks(tokens < most_resident ? tokens : most_resident),
        scratch_bytes(sizeof(token_choice::top_k_scratch) +
                      static_cast<std::size_t>(warps) * Source::scratch_floats * sizeof(float)) {}

  bool in_shared() const {
    return scratch_bytes + static_cast<std::size_t>(row_bytes) + block_team::scratch_words * sizeof(std::uint64_t) <=
           shared_bytes_per_block;
  }
  std::size_t shared_bytes() const {
    return scratch_bytes + (in_shared() ? static_cast<std::size_t>(row_bytes) : std::size_t{0});
  }
  //! The layout as the kernels read it; what does not fit shared memory is carved.
  long_rows carve(workspace_carver& carver, std::int32_t deepest) const {
    return {deepest, in_shared() ? nullptr : carver.take<unsigned char>(blocks * row_bytes), row_bytes};
  }

 private:
  static constexpr std::int64_t most_resident = 1024;
};

template <class Source, class Score, class Selection>
status launch_tile_rows(const device_stream& on, const Source& source,
                        const token_choice::row_rules<Score, Selection>& rules, std::int32_t deepest,
                        const token_choice::choice_outputs& out) {
  return with_tile_shape<Source::whole_warp>(rules.experts, deepest, [&](auto size, auto depth) {
    using chooser = token_choice::warp_row_chooser<Score, Selection, decltype(size)::value, decltype(depth)::value>;
    using rows = tile_rows<Source, chooser>;
    const std::int64_t warp_bytes = rows::warp_words(rules) * 4;
    int warps = token_choice_threads / warp_size;
    while (warps > 1 && warps * warp_bytes > static_cast<std::int64_t>(shared_bytes_per_block)) warps /= 2;
    const std::int64_t turns = divide_up(source.tokens(), rows::tokens_per_turn(warps));
    const launch_shape shape{turns < most_blocks ? turns : most_blocks, warps * warp_size,
                             static_cast<std::size_t>(warps * warp_bytes)};
    return launch(on, shape,
                  kernel_token_choice<Source, Score, Selection, decltype(size)::value, decltype(depth)::value>, source,
                  rules, out, on.num_tokens);
  });
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail

namespace token_choice {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Bytes of workspace that device_token_choice needs: none up to K = 32 and some 4000 experts; beyond, where a row does
//! not fit shared memory, about 16 E + 12 K per token, for 1024 tokens at most.
template <class Source, class Score, class Selection>
std::size_t device_token_choice_workspace_bytes(const Source& source, const Score& score, const Selection& selection,
                                                const options& o) {
  if (!source.check().ok() || !o.check(source.experts()).ok() || !selection.check(source.experts(), o).ok()) return 0;
  const std::int32_t deepest = device_selection<Selection>::deepest(selection, o);
  const row_rules<Score, Selection> rules{score, device_selection<Selection>(selection, o), o, source.experts(),
                                          Source::largest};
  if (detail::rows_fit_tiles<Source>(rules, deepest)) return 0;
  detail::workspace_carver counter;
  detail::row_blocks<Source>(source.tokens(), source.experts(), o.top_k, deepest).carve(counter, deepest);
  return counter.bytes();
}

//! Chooses the experts of every token and weighs them, in one pass over a row source and one launch.
//!
//! Equation   (E_t1 .. E_tK) = the policy's choice by (score + bias desc, id asc)   ETR Eq. 5
//! Inputs     source: affinity::warp_source, or any type with its members; arrays in device memory
//!            options.correction_bias float[E] in device memory, nullable; rank_set::ranks in host memory, K <= 128
//! Outputs    as host_token_choice: topk_ids int32[T,K], topk_weights and topk_affinity float[T,K] (nullable), affinity
//!            float[T,E] strided (nullable)
//! Contract   the host's ids and bits
//! Errors     as host_token_choice; launch_failed
//! Resources  1 launch; device_token_choice_workspace_bytes; no allocation, no synchronization, capturable
//! Cost       the source's reads and 12*T*K writes; a row is read once
//! Example    test/simt/token_choice/device_token_choice_test.cpp
template <class Source, class Score, class Selection>
status device_token_choice(const device_stream& on, const Source& source, const Score& score,
                           const Selection& selection, const options& o, const choice_buffers& choice,
                           matrix_view<float> affinity, workspace_view workspace) {
  detail::checks c;
  c.also(detail::check_token_choice(source, score, selection, o, choice, affinity));
  if (!c.result().ok()) return c.result();
  c.also(device_selection<Selection>::check(selection, o));
  c.also(detail::check_workspace(workspace, device_token_choice_workspace_bytes(source, score, selection, o)));
  if (!c.result().ok() || source.tokens() == 0) return c.result();

  const row_rules<Score, Selection> rules{score, device_selection<Selection>(selection, o), o, source.experts(),
                                          Source::largest};
  const choice_outputs out{choice, affinity};
  const std::int32_t deepest = device_selection<Selection>::deepest(selection, o);
  if (detail::rows_fit_tiles<Source>(rules, deepest)) return detail::launch_tile_rows(on, source, rules, deepest, out);

  const detail::row_blocks<Source> rows(source.tokens(), rules.experts, o.top_k, deepest);
  detail::workspace_carver carver(workspace.data);
  return detail::launch(on, {rows.blocks, detail::row_block_threads, rows.shared_bytes()},
                        detail::kernel_token_choice_by_block<Source, Score, Selection>, source, rules,
                        rows.carve(carver, deepest), out, on.num_tokens);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif

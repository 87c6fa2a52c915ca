// SPDX-License-Identifier: Apache-2.0
//! \file
//! The first launch of a route on the device, and what all ways of routing ask of its tables.
#ifndef RESONANCE_ROUTE_DEVICE_ROUTE_CHOICE_CUH
#define RESONANCE_ROUTE_DEVICE_ROUTE_CHOICE_CUH

#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/affinity/warp_residual_logits.cuh>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/plan/block_plan.cuh>
#include <resonance/prune/check.hpp>
#include <resonance/route/kernel_route.cuh>
#include <resonance/route/route_tables.hpp>
#include <resonance/token_choice/device_token_choice.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
using device_tables = route_tables<memory_space::device, affinity::warp_source<Metric, Input>, Metric, Selection, Merge,
                                   Capacity, Score, Order>;

//! A batch up to this size is one block's work.
inline constexpr std::int64_t most_small_tokens = 256;

//! Dynamic shared memory that a block may ask for.
inline constexpr std::size_t dynamic_bytes_per_block =
    shared_bytes_per_block - block_team::scratch_words * sizeof(std::uint64_t);

//! The choice of the tokens of a route: rules, shapes, launches.
template <class Tables, class Score, class Selection>
class route_choice {
 public:
  using source_type = std::decay_t<decltype(Tables::source)>;
  using rules_type = token_choice::row_rules<Score, Selection>;

  explicit route_choice(const Tables& t)
      : source(t.source),
        rules{t.options.score, token_choice::device_selection<Selection>(t.options.selection, t.options.choice),
              t.options.choice, t.experts, source_type::largest},
        deepest(token_choice::device_selection<Selection>::deepest(t.options.selection, t.options.choice)),
        out{t.choice, t.affinity} {}

  bool fits_tiles() const { return rows_fit_tiles<source_type>(rules, deepest); }

  //! Where they do not fit tiles.
  row_blocks<source_type> blocks(int warps = row_block_threads / warp_size) const {
    return {source.tokens(), rules.experts, rules.o.top_k, deepest, warps};
  }

  //! Tokens of one block: whole turns of any tile, and no more than some 1000 blocks.
  std::int64_t row_tokens() const {
    constexpr std::int64_t most_rows = 1024;
    constexpr std::int64_t warps = token_choice_threads / warp_size;
    constexpr std::int64_t turn = source_type::whole_warp ? source_type::block * warps : 2 * warps;
    const std::int64_t wanted = divide_up(source.tokens(), most_rows);
    return (wanted > turn ? divide_up(wanted, turn) : 1) * turn;
  }

  //! Shared memory that a warp's rows take in the shape that with_route_shape picks.
  std::size_t warp_bytes() const {
    std::int64_t words = 0;
    with_route_shape<source_type::whole_warp>(rules.experts, deepest, [&](auto size, auto depth) {
      words = tile_rows<source_type, token_choice::warp_row_chooser<Score, Selection, decltype(size)::value,
                                                                    decltype(depth)::value>>::warp_words(rules);
    });
    return static_cast<std::size_t>(words) * 4;
  }

  //! The most warps, of `wanted`, whose rows have room in one block.
  int choosing_warps(int wanted) const {
    while (wanted > 1 && static_cast<std::size_t>(wanted) * warp_bytes() > dynamic_bytes_per_block) wanted /= 2;
    return wanted;
  }

  //! A block per row_tokens() tokens. bytes_of_after(warps): dynamic shared memory that `after` needs.
  template <class After, class BytesOfAfter>
  status launch_rows(const device_stream& on, const After& after, const BytesOfAfter& bytes_of_after) const {
    const int warps = choosing_warps(token_choice_threads / warp_size);
    const std::size_t of_rows = static_cast<std::size_t>(warps) * warp_bytes();
    const std::size_t of_after = bytes_of_after(warps);
    const launch_shape shape{divide_up(source.tokens(), row_tokens()), warps * warp_size,
                             of_after > of_rows ? of_after : of_rows};
    status launched;
    with_route_shape<source_type::whole_warp>(rules.experts, deepest, [&](auto size, auto depth) {
      launched = launch(
          on, shape,
          kernel_route_choice<source_type, Score, Selection, decltype(size)::value, decltype(depth)::value, After>,
          source, rules, out, row_tokens(), after, on.num_tokens);
    });
    return launched;
  }

  source_type source;
  rules_type rules;
  std::int32_t deepest;
  token_choice::choice_outputs out;
};

//! Everything chosen is kept, and nobody asks for the figures of pruning or merging.
template <class Tables, class Index>
bool keeps_all(const Tables& t, const route::outputs<Index>& out) {
  using capacity = std::decay_t<decltype(t.options.capacity)>;
  const prune::outputs& p = out.prune;
  const bool asked = p.ids != nullptr || p.weights != nullptr || p.capacities != nullptr || p.kept != nullptr ||
                     p.dropped != nullptr || wants_mass(p) || p.delta_max != nullptr ||
                     out.merged.rank_in_expert != nullptr;
  return std::is_same_v<capacity, prune::unlimited> && !Tables::asks_experts && t.options.prune.capacity_cap < 0 &&
         !asked;
}

//! The experts of a plan, over `assignments` with the ids that were kept.
template <class Tables>
slot_experts plan_experts(const Tables& t, assignment_view assignments, const std::int32_t* ids) {
  assignments.ids = ids;
  return slot_experts(assignments, t.options.plan.expert_map, t.options.plan.num_local);
}

template <class Tables, class Index>
plan_rows<Index> rows_of_plan(const Tables& t, const route::outputs<Index>& out) {
  return {out.plan, t.options.plan, t.options.plan.local_experts(t.experts)};
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

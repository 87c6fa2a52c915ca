// SPDX-License-Identifier: Apache-2.0
//! \file
//! Fused routes on the device: the launches of the compositions whose experts choose among the tokens that chose them.
#ifndef RESONANCE_ROUTE_DEVICE_FUSED_CUH
#define RESONANCE_ROUTE_DEVICE_FUSED_CUH

#include <resonance/config.hpp>
#include <resonance/core/device_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/plan/block_plan.cuh>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/check.hpp>
#include <resonance/route/device_staged.cuh>
#include <resonance/route/kernel_route.cuh>
#include <resonance/token_choice/device_token_choice.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! A batch up to this size is one block's work.
inline constexpr std::int64_t most_small_tokens = 256;
inline constexpr std::int64_t most_small_slots = std::int64_t{group_items} * group_threads;
inline constexpr int small_route_threads = 384;
inline constexpr int route_expert_threads = 256;

template <class Score, class Selection, class Tables>
token_choice::row_rules<Score, Selection> rules_of(const Tables& t) {
  return {t.options.score, token_choice::device_selection<Selection>(t.options.selection, t.options.choice),
          t.options.choice, t.experts, std::decay_t<decltype(t.source)>::largest};
}

template <class Tables>
bool is_small(const Tables& t) {
  return t.tokens <= most_small_tokens && t.tokens * t.options.choice.top_k <= most_small_slots;
}

//! Whether a fused kernel covers the composition; a matter of shapes and options alone.
template <class M, class S, class G, class C, class F, class O, class Input>
bool can_fuse(const device_tables<M, S, G, C, F, O, Input>& t) {
  if (G::needs_expert_choice || t.options.plan.by_affinity) return false;
  if (!std::is_same_v<C, prune::unlimited> && t.options.plan.expert_map != nullptr && !is_small(t)) return false;
  using source = affinity::warp_source<M, Input>;
  return token_choice::device_selection<S>::check(t.options.selection, t.options.choice).ok() &&
         rows_fit_tiles<source>(rules_of<F, S>(t),
                                token_choice::device_selection<S>::deepest(t.options.selection, t.options.choice));
}

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
class fused_route {
  using tables_type = device_tables<Metric, Selection, Merge, Capacity, Score, Order, Input>;
  using source_type = affinity::warp_source<Metric, Input>;

 public:
  explicit fused_route(const tables_type& tables) : t_(tables) {}

  void carve(workspace_carver& carver) {
    const std::int64_t slots = t_.most_slots();
    const std::int64_t rows = t_.tokens > 0 ? divide_up(t_.tokens, row_tokens()) : 1;
    const std::int64_t groups = t_.options.plan.local_experts(t_.experts);
    const std::int64_t columns = groups > t_.experts ? groups : t_.experts;
    counts_ = carver.take<std::uint32_t>(rows * columns);
    begins_ = carver.take<std::uint32_t>(rows * (t_.experts + 1));
    row_slots_ = carver.take<std::uint32_t>(slots);
    members_ = carver.take<std::uint32_t>(slots);
    offsets_ = carver.take<std::int64_t>(std::int64_t{t_.experts} + 1);
    capacities_ = carver.take<std::int64_t>(t_.experts);
    token_best_ = carver.take<float>(t_.tokens);
    row_best_ = carver.take<std::uint64_t>(rows);
    rank_spill_ = carver.take<std::uint64_t>(2 * slots);
    key_spill_ = carver.take<std::uint64_t>(2 * slots);
    mass_spill_ = carver.take<std::uint32_t>(slots);
  }

  template <class Index>
  status run(const device_stream& on, const route::outputs<Index>& out) {
    if constexpr (std::is_same_v<Capacity, prune::unlimited>)
      if (keeps_all(out)) return is_small(t_) ? run_small<false>(on, out) : run_unpruned(on, out);
    return is_small(t_) ? run_small<true>(on, out) : run_pruned(on, out);
  }

 private:
  //! Tokens of one block of the first launch: whole turns of any tile, and no more than some 1000 blocks.
  std::int64_t row_tokens() const {
    constexpr std::int64_t most_rows = 1024;
    constexpr std::int64_t warps = token_choice_threads / warp_size;
    constexpr std::int64_t turn = source_type::whole_warp ? source_type::block * warps : 2 * warps;
    const std::int64_t wanted = divide_up(t_.tokens, most_rows);
    return (wanted > turn ? divide_up(wanted, turn) : 1) * turn;
  }

  //! Everything chosen is kept, and nobody asks for the figures of pruning or merging.
  template <class Index>
  bool keeps_all(const route::outputs<Index>& out) const {
    const prune::outputs& p = out.prune;
    const bool asked = p.ids != nullptr || p.weights != nullptr || p.capacities != nullptr || p.kept != nullptr ||
                       p.dropped != nullptr || wants_mass(p) || p.delta_max != nullptr ||
                       out.merged.rank_in_expert != nullptr;
    return t_.options.prune.capacity_cap < 0 && !asked;
  }

  token_choice::choice_outputs chosen() const { return {t_.choice, t_.affinity}; }

  slot_experts plan_experts(const std::int32_t* ids) const {
    assignment_view kept = t_.choices();
    kept.ids = ids;
    return slot_experts(kept, t_.options.plan.expert_map, t_.options.plan.num_local);
  }

  template <class Index>
  rows_by_slot<Index> plan_placement(const route::outputs<Index>& out) const {
    return {plan_rows<Index>(out.plan, t_.options.plan, t_.options.plan.local_experts(t_.experts))};
  }

  //! What the pruning bodies are told. `rows`: of the table of best affinities.
  route_experts experts_call(const device_stream& on, std::int64_t rows) const {
    route_experts r;
    r.call.assignments = t_.merged_assignments();
    r.call.batch = t_.facts();
    r.call.options = t_.options.prune;
    r.call.out = t_.pruned;
    r.call.num_tokens = on.num_tokens;
    r.call.token_best = token_best_;
    r.call.tile_best = row_best_;
    r.call.best_tiles = rows;
    r.call.capacities = capacities_;
    r.call.rank_spill = mass_spill_;
    r.call.key_spill = key_spill_;
    r.lists = {begins_, row_slots_, row_tokens() * t_.options.choice.top_k, t_.experts};
    r.members = members_;
    r.offsets = offsets_;
    r.rank_spill = rank_spill_;
    r.rank_in_expert = t_.merged.rank_in_expert;
    r.kept_counts = counts_;
    r.row_tokens = row_tokens();
    return r;
  }

  std::int32_t deepest() const {
    return token_choice::device_selection<Selection>::deepest(t_.options.selection, t_.options.choice);
  }

  template <bool Prunes, class Index>
  status run_small(const device_stream& on, const route::outputs<Index>& out) const {
    constexpr std::size_t room = shared_bytes_per_block - block_team::scratch_words * sizeof(std::uint64_t);
    const auto rules = rules_of<Score, Selection>(t_);
    const std::size_t warp_bytes = row_bytes_of_warp(rules);
    int warps = small_route_threads / warp_size;
    const std::int32_t groups = t_.options.plan.local_experts(t_.experts);
    const std::int32_t most_groups = groups > t_.experts ? groups : t_.experts;
    using position = typename rows_by_slot<Index>::position;
    while (warps > 1 && group_scratch<position>::bytes(most_groups, warps) > room) warps /= 2;
    small_route r;
    r.experts = experts_call(on, 1);
    r.members = {offsets_, members_};
    r.wants_best = wants_best<Capacity, Order>(t_.pruned);
    r.deepest = deepest();
    r.choosing = warps;
    while (r.choosing > 1 && static_cast<std::size_t>(r.choosing) * warp_bytes > room) r.choosing /= 2;
    std::size_t bytes = static_cast<std::size_t>(r.choosing) * warp_bytes;
    const auto at_least = [&bytes](std::size_t wanted) { bytes = wanted > bytes ? wanted : bytes; };
    at_least(group_scratch<position>::bytes(most_groups, warps));
    if (Prunes) at_least(static_cast<std::size_t>(warps) * rank_scratch::least_words * sizeof(std::uint64_t));
    return launch(
        on, {1, warps * warp_size, bytes},
        kernel_route_small<small_route_threads, Prunes, source_type, Score, Selection, Capacity, Order, Index>,
        t_.source, rules, chosen(), t_.options.capacity, r, plan_experts(Prunes ? t_.pruned.ids : t_.choice.topk_ids),
        plan_placement(out));
  }

  //! Shared memory that a warp's rows take in the shape that with_route_shape picks.
  std::size_t row_bytes_of_warp(const token_choice::row_rules<Score, Selection>& rules) const {
    std::int64_t words = 0;
    with_route_shape<source_type::whole_warp>(t_.experts, deepest(), [&](auto size, auto depth) {
      words = tile_rows<source_type, token_choice::warp_row_chooser<Score, Selection, decltype(size)::value,
                                                                    decltype(depth)::value>>::warp_words(rules);
    });
    return static_cast<std::size_t>(words) * 4;
  }

  //! First launch of a large batch. `groups`: of what `after` does.
  template <class After>
  status choose_rows(const device_stream& on, std::int32_t groups, const After& after) const {
    constexpr std::size_t room = shared_bytes_per_block - block_team::scratch_words * sizeof(std::uint64_t);
    const auto rules = rules_of<Score, Selection>(t_);
    const std::size_t warp_bytes = row_bytes_of_warp(rules);
    int warps = token_choice_threads / warp_size;
    while (warps > 1 && static_cast<std::size_t>(warps) * warp_bytes > room) warps /= 2;
    const std::size_t of_rows = static_cast<std::size_t>(warps) * warp_bytes;
    const std::size_t of_after = std::is_same_v<After, count_chosen>
                                     ? static_cast<std::size_t>(least(groups, count_range)) * sizeof(unsigned)
                                     : group_scratch<unsigned>::bytes(groups, warps);
    const launch_shape shape{divide_up(t_.tokens, row_tokens()), warps * warp_size,
                             of_after > of_rows ? of_after : of_rows};
    status launched;
    with_route_shape<source_type::whole_warp>(t_.experts, deepest(), [&](auto size, auto depth) {
      launched = launch(
          on, shape,
          kernel_route_choice<source_type, Score, Selection, decltype(size)::value, decltype(depth)::value, After>,
          t_.source, rules, chosen(), row_tokens(), after, on.num_tokens);
    });
    return launched;
  }

  //! Last launch of a large batch: the plan, from counts by row.
  template <class Index>
  status place_rows(const device_stream& on, const std::int32_t* ids, const route::outputs<Index>& out) const {
    const slot_experts experts = plan_experts(ids);
    assignment_view kept = t_.choices();
    kept.ids = ids;
    const std::int64_t slots = t_.most_slots();
    const std::int64_t row_slots = row_tokens() * t_.options.choice.top_k;
    const group_tiling tiling(slots, experts.groups);
    const std::int64_t tile_slots = divide_up(tiling.tile_slots, row_slots) * row_slots;
    using position = typename rows_by_slot<Index>::position;
    const int warps = group_warps<position>(tile_slots, experts.groups);
    return launch(
        on, {divide_up(slots, tile_slots), warps * warp_size, group_scratch<position>::bytes(experts.groups, warps)},
        kernel_route_place<place_threads<position>, Index>, kept, experts, on.num_tokens, tile_slots, row_slots,
        static_cast<const std::uint32_t*>(counts_), plan_placement(out));
  }

  template <class Index>
  status run_unpruned(const device_stream& on, const route::outputs<Index>& out) const {
    const slot_experts experts = plan_experts(t_.choice.topk_ids);
    checks c;
    c.also(choose_rows(on, experts.groups, count_chosen{t_.choices(), experts, counts_}));
    if (c.result().ok() && out.plan.expert_offsets != nullptr) c.also(place_rows(on, t_.choice.topk_ids, out));
    return c.result();
  }

  template <class Index>
  status run_pruned(const device_stream& on, const route::outputs<Index>& out) const {
    const route_experts r = experts_call(on, divide_up(t_.tokens, row_tokens()));
    row_list_placement placement;
    placement.lists = r.lists;
    placement.ids = t_.pruned.ids;
    placement.weights = t_.pruned.weights;
    placement.rank_in_expert = t_.merged.rank_in_expert;
    constexpr int threads = route_expert_threads;
    const launch_shape by_expert{t_.experts, threads, 0};
    checks c;
    c.also(choose_rows(on, t_.experts, list_chosen{r.call, placement, wants_best<Capacity, Order>(t_.pruned)}));
    if (!c.result().ok()) return c.result();
    if (t_.options.prune.shared) {
      c.also(launch(on, by_expert, kernel_route_experts<threads, Capacity, Order, true>, t_.options.capacity, r));
      if (c.result().ok()) c.also(launch(on, by_expert, kernel_route_cut<threads, Capacity, Order>, r));
    } else {
      c.also(launch(on, by_expert, kernel_route_experts<threads, Capacity, Order, false>, t_.options.capacity, r));
    }
    if (t_.options.prune.renormalize && c.result().ok())
      c.also(launch(on, {divide_up(t_.tokens, threads), threads, 0}, kernel_renormalize<threads>, r.call));
    if (c.result().ok() && out.plan.expert_offsets != nullptr) c.also(place_rows(on, t_.pruned.ids, out));
    return c.result();
  }

  tables_type t_;
  std::uint32_t* counts_ = nullptr;      // [rows][max(E, L)]
  std::uint32_t* begins_ = nullptr;      // [rows][E + 1]
  std::uint32_t* row_slots_ = nullptr;   // [slots]
  std::uint32_t* members_ = nullptr;     // [slots]
  std::int64_t* offsets_ = nullptr;      // [E + 1]
  std::int64_t* capacities_ = nullptr;   // [E]
  float* token_best_ = nullptr;          // [T]
  std::uint64_t* row_best_ = nullptr;    // [rows]
  std::uint64_t* rank_spill_ = nullptr;  // [2 * slots]
  std::uint64_t* key_spill_ = nullptr;   // [2 * slots]
  std::uint32_t* mass_spill_ = nullptr;  // [slots]
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

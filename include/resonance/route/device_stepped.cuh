// SPDX-License-Identifier: Apache-2.0
//! \file
//! Any composition on the device: a small batch in one launch, a large one in two, whose second does all the steps.
#ifndef RESONANCE_ROUTE_DEVICE_STEPPED_CUH
#define RESONANCE_ROUTE_DEVICE_STEPPED_CUH

#include <resonance/config.hpp>
#include <resonance/core/block_columns.cuh>
#include <resonance/core/device_group.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/ordered_steps.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/plan/block_plan.cuh>
#include <resonance/prune/check.hpp>
#include <resonance/route/block_route_steps.cuh>
#include <resonance/route/device_route_choice.cuh>
#include <resonance/route/kernel_route_steps.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int small_route_threads = 384;
inline constexpr int route_step_threads = 256;

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
class stepped_route {
 public:
  using tables_type = device_tables<Metric, Selection, Merge, Capacity, Score, Order, Input>;

  explicit stepped_route(const tables_type& tables) : t_(tables), choice_(tables) {}

  void carve(workspace_carver& carver) {
    const std::int64_t slots = t_.most_slots();
    const std::int32_t local = t_.options.plan.local_experts(t_.experts);
    const bool small = is_small();
    if (!choice_.fits_tiles()) long_rows_ = row_blocks_of_route().carve(carver, choice_.deepest);
    if (!small) counters_ = carver.take<unsigned>(ordered_steps::words);
    token_best_ = carver.take<float>(t_.tokens);
    tile_best_ = carver.take<std::uint64_t>(best_tiles());
    capacities_ = carver.take<std::int64_t>(t_.experts);
    offsets_ = carver.take<std::int64_t>(std::int64_t{t_.experts} + 1);
    members_ = carver.take<std::uint32_t>(slots);
    mass_spill_ = carver.take<std::uint32_t>(slots);
    std::int64_t places = slots;
    if (t_.options.plan.by_affinity) {
      if (t_.options.plan.pad_to_capacity < 0) places = plan::max_rows(slots, t_.experts, t_.options.plan);
      plan_begins_ = carver.take<std::uint64_t>(local);
      plan_members_of_ = carver.take<std::uint32_t>(local);
      plan_members_ = carver.take<std::uint32_t>(places);
    }
    spill_ = carver.take<std::uint64_t>(2 * (places > slots ? places : slots));
    if (!small) {
      list_counts_ = carver.take<std::uint32_t>(group_tiling(slots, t_.experts).count_words(t_.experts));
      plan_counts_ = carver.take<std::uint32_t>(group_tiling(slots, local).count_words(local));
    }
    if (tables_type::asks_experts) {
      delta_max_ = carver.take<float>(1);
      thresholds_ = carver.take<std::uint64_t>(t_.experts);
    }
    if (tables_type::ragged) {
      ragged_.gained = carver.take<std::uint32_t>(t_.tokens * merge::gained_words(t_.experts));
      ragged_.tile_slots = carver.take<std::int64_t>(merge::merge_tiles(t_.tokens));
    }
  }

  template <class Index>
  status run(const device_stream& on, const route::outputs<Index>& out) const {
    if (!is_small()) return run_large(on, out);
    const bool plan_alone = keeps_all(t_, out) && !t_.options.plan.by_affinity;
    if constexpr (std::is_same_v<Capacity, prune::unlimited> && !tables_type::asks_experts)
      if (plan_alone) return run_small_unpruned(on, out);
    return run_small(on, out);
  }

 private:
  using source_type = affinity::warp_source<Metric, Input>;
  template <class Index>
  using call_type = route_steps_call<Merge, Capacity, Order, Score, Index>;

  bool is_small() const { return t_.tokens <= most_small_tokens; }
  std::int64_t best_tiles() const { return divide_up(t_.tokens, prune_tile_tokens); }

  row_blocks<source_type> row_blocks_of_route() const {
    if (!is_small()) return choice_.blocks();
    row_blocks<source_type> one = choice_.blocks(small_route_threads / warp_size);
    one.blocks = 1;
    return one;
  }

  //! Everything but the tiles, which are cut for one block or for many.
  template <class Index>
  call_type<Index> call_of(const device_stream& on, const route::outputs<Index>& out) const {
    call_type<Index> c;
    c.rule = t_.options.capacity;
    c.score = t_.options.score;
    c.choice = t_.options.choice;
    c.choices = t_.choices();
    prune_call& p = c.pruning;
    p.assignments = t_.merged_assignments();
    p.batch = t_.facts();
    p.options = t_.options.prune;
    p.out = t_.pruned;
    p.num_tokens = on.num_tokens;
    p.lists = {offsets_, members_};
    p.token_best = token_best_;
    p.tile_best = tile_best_;
    p.best_tiles = best_tiles();
    p.capacities = capacities_;
    p.rank_spill = mass_spill_;
    p.key_spill = spill_;
    c.lists.lists = {offsets_, members_};
    c.lists.groups = t_.experts;
    c.lists.ids = t_.pruned.ids;
    c.lists.weights = t_.pruned.weights;
    c.lists.rank_in_expert = t_.merged.rank_in_expert;
    c.rank_spill = spill_;
    if constexpr (tables_type::asks_experts) ask_experts(c);

    const auto tokens = static_cast<std::uint32_t>(best_tiles());
    const auto experts = static_cast<std::uint32_t>(t_.experts);
    c.items.best = wants_best<Capacity, Order>(t_.pruned) ? tokens : 0;
    c.items.prune = experts;
    c.items.cut = p.options.shared ? experts : 0;
    c.items.renormalize = p.options.renormalize ? tokens : 0;
    c.of_plan = plan_experts(t_, p.assignments, t_.pruned.ids);
    using rows_type = rows_by_affinity<Index>;
    c.plan_rows = rows_type{rows_of_plan(t_, out), reinterpret_cast<typename rows_type::position*>(plan_begins_),
                            plan_members_of_, plan_members_};
    if (out.plan.expert_offsets != nullptr && t_.options.plan.by_affinity)
      c.items.plan_rank = static_cast<std::uint32_t>(c.of_plan.groups);
    return c;
  }

  template <class Call>
  void ask_experts(Call& c) const {
    prune_call& p = c.pruning;
    c.expert.affinity = t_.affinity;
    c.expert.capacity = t_.most_expert_capacity();
    if (t_.options.expert_capacity < 0 && c.expert.capacity != 0) c.capacities = t_.expert_capacities;
    c.expert.capacities = c.capacities;
    if (Capacity::needs_delta_max && p.options.delta_max == nullptr) {
      c.delta_max = delta_max_;
      p.options.delta_max = delta_max_;
      c.items.best_of_choices = static_cast<std::uint32_t>(best_tiles());
    }
    c.thresholds = thresholds_;
    c.ragged = ragged_;
    c.merged = t_.merged;
    c.stages_columns = staged_bytes() != 0;
    c.items.ask_experts = static_cast<std::uint32_t>(column_groups(t_.experts));
    if (tables_type::ragged) {
      c.items.mark = c.items.extend = c.items.weigh = static_cast<std::uint32_t>(merge::merge_tiles(t_.tokens));
    } else {
      c.items.mark = static_cast<std::uint32_t>(divide_up(t_.tokens * t_.options.choice.top_k, mark_tile_slots));
    }
  }

  std::size_t staged_bytes() const {
    return staged_column_bytes(t_.tokens,
                               ask_experts_bytes<Capacity>() + shared_bytes_per_block - dynamic_bytes_per_block);
  }

  //! Dynamic shared memory of the steps, by blocks of `warps` warps. `ranking`: teams that rank members at once.
  template <class Index>
  std::size_t step_bytes(const call_type<Index>& c, int warps, int ranking, int words) const {
    std::size_t bytes = static_cast<std::size_t>(ranking) * static_cast<std::size_t>(words) * sizeof(std::uint64_t);
    const auto at_least = [&bytes](std::size_t wanted) { bytes = wanted > bytes ? wanted : bytes; };
    using position = typename rows_by_slot<Index>::position;
    at_least(group_scratch<unsigned>::bytes(t_.experts, warps));
    at_least(group_scratch<position>::bytes(c.of_plan.groups, warps));
    at_least(static_cast<std::size_t>(least(t_.experts, count_range)) * sizeof(unsigned));
    at_least(static_cast<std::size_t>(least(c.of_plan.groups, count_range)) * sizeof(unsigned));
    if (tables_type::asks_experts) at_least(ask_experts_bytes<Capacity>() + staged_bytes());
    return bytes;
  }

  //! The most warps, of `wanted`, whose counters of groups have room in one block.
  template <class Index>
  int placing_warps(std::int32_t groups, int wanted) const {
    using position = typename rows_by_slot<Index>::position;
    const std::int32_t most = groups > t_.experts ? groups : t_.experts;
    while (wanted > 1 && group_scratch<position>::bytes(most, wanted) > dynamic_bytes_per_block) wanted /= 2;
    return wanted;
  }

  small_choice choose_by(int warps) const {
    small_choice by;
    by.deepest = choice_.deepest;
    by.rows = long_rows_;
    by.warps = choice_.fits_tiles() ? choice_.choosing_warps(warps) : 0;
    return by;
  }

  std::size_t choice_bytes(const small_choice& by) const {
    if (by.warps == 0) return row_blocks_of_route().shared_bytes();
    return static_cast<std::size_t>(by.warps) * choice_.warp_bytes();
  }

  template <class Index>
  status run_small(const device_stream& on, const route::outputs<Index>& out) const {
    call_type<Index> c = call_of(on, out);
    c.items.list_place = 1;
    c.items.plan_place = out.plan.expert_offsets != nullptr ? 1 : 0;
    c.list_tile_slots = c.plan_tile_slots = t_.most_slots();
    const int warps = placing_warps<Index>(c.of_plan.groups, small_route_threads / warp_size);
    const small_choice by = choose_by(warps);
    const std::size_t of_steps = step_bytes(c, warps, warps, warp_rank_words);
    const std::size_t of_choice = choice_bytes(by);
    return launch(on, {1, warps * warp_size, of_steps > of_choice ? of_steps : of_choice},
                  kernel_route_small<small_route_threads, source_type, Score, Selection, Merge, Capacity, Order, Index>,
                  choice_.source, choice_.rules, by, choice_.out, c);
  }

  template <class Index>
  status run_small_unpruned(const device_stream& on, const route::outputs<Index>& out) const {
    const slot_experts experts = plan_experts(t_, t_.choices(), t_.choice.topk_ids);
    const int warps = placing_warps<Index>(experts.groups, small_route_threads / warp_size);
    const small_choice by = choose_by(warps);
    const std::size_t of_plan = group_scratch<typename rows_by_slot<Index>::position>::bytes(experts.groups, warps);
    const std::size_t of_choice = choice_bytes(by);
    return launch(on, {1, warps * warp_size, of_plan > of_choice ? of_plan : of_choice},
                  kernel_route_small_unpruned<small_route_threads, source_type, Score, Selection, Index>,
                  choice_.source, choice_.rules, by, choice_.out, experts, rows_by_slot<Index>{rows_of_plan(t_, out)},
                  on.num_tokens);
  }

  status choose_rows(const device_stream& on) const {
    const start_steps after{counters_};
    if (choice_.fits_tiles()) return choice_.launch_rows(on, after, [](int) { return std::size_t{0}; });
    const row_blocks<source_type> rows = row_blocks_of_route();
    return launch(on, {rows.blocks, row_block_threads, rows.shared_bytes()},
                  kernel_route_choice_by_block<source_type, Score, Selection>, choice_.source, choice_.rules,
                  long_rows_, choice_.out, after, on.num_tokens);
  }

  template <class Index>
  status run_large(const device_stream& on, const route::outputs<Index>& out) const {
    call_type<Index> c = call_of(on, out);
    const std::int64_t slots = t_.most_slots();
    const group_tiling lists(slots, t_.experts);
    const group_tiling plans(slots, c.of_plan.groups);
    c.list_tile_slots = lists.tile_slots;
    c.list_counts = list_counts_;
    c.plan_tile_slots = plans.tile_slots;
    c.plan_counts = plan_counts_;
    c.items.list_place = static_cast<std::uint32_t>(lists.tiles);
    c.items.list_count = lists.tiles > 1 ? c.items.list_place : 0;
    if (out.plan.expert_offsets != nullptr) {
      c.items.plan_place = static_cast<std::uint32_t>(plans.tiles);
      c.items.plan_count = plans.tiles > 1 ? c.items.plan_place : 0;
    }
    const status chosen = choose_rows(on);
    if (!chosen.ok()) return chosen;
    const int warps = placing_warps<Index>(c.of_plan.groups, route_step_threads / warp_size);
    return launch(on, {c.items.sum(), warps * warp_size, step_bytes(c, warps, 1, block_rank_words)},
                  kernel_route_steps<route_step_threads, Merge, Capacity, Order, Score, Index>, c, counters_);
  }

  tables_type t_;
  route_choice<tables_type, Score, Selection> choice_;
  long_rows long_rows_;
  unsigned* counters_ = nullptr;
  float* token_best_ = nullptr;               // [T]
  std::uint64_t* tile_best_ = nullptr;        // [best_tiles()]
  std::int64_t* capacities_ = nullptr;        // [E]
  std::int64_t* offsets_ = nullptr;           // [E + 1]
  std::uint32_t* members_ = nullptr;          // [slots]
  std::uint32_t* mass_spill_ = nullptr;       // [slots]
  std::uint64_t* spill_ = nullptr;            // [2 * slots, or rows with their padding]
  std::uint64_t* plan_begins_ = nullptr;      // [L], this and the next two: rows by affinity
  std::uint32_t* plan_members_of_ = nullptr;  // [L]
  std::uint32_t* plan_members_ = nullptr;     // [slots, or rows with their padding]
  std::uint32_t* list_counts_ = nullptr;
  std::uint32_t* plan_counts_ = nullptr;
  float* delta_max_ = nullptr;
  std::uint64_t* thresholds_ = nullptr;  // [E]
  merge::ragged_scratch ragged_;
};

RESONANCE_ARCH_NAMESPACE_END
}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Large batches of the common compositions on the device: tokens choose, experts cut, rows are placed.
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
#include <resonance/prune/check.hpp>
#include <resonance/route/device_route_choice.cuh>
#include <resonance/route/kernel_route.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace detail {
RESONANCE_ARCH_NAMESPACE_BEGIN

inline constexpr int route_expert_threads = 256;

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order, class Input>
class fused_route {
 public:
  using tables_type = device_tables<Metric, Selection, Merge, Capacity, Score, Order, Input>;

  explicit fused_route(const tables_type& tables) : t_(tables), choice_(tables) {}

  //! Whether these kernels cover a batch; a matter of shapes and options alone.
  bool covers(bool keeps_all) const {
    const prune::options& cut = t_.options.prune;
    const bool plain_cut = !cut.shared && !cut.renormalize && t_.options.plan.expert_map == nullptr;
    return t_.tokens > most_small_tokens && !tables_type::asks_experts && !t_.options.plan.by_affinity &&
           (keeps_all || plain_cut) && choice_.fits_tiles();
  }

  void carve(workspace_carver& carver) {
    const std::int64_t slots = t_.most_slots();
    const std::int64_t groups = t_.options.plan.local_experts(t_.experts);
    const std::int64_t columns = groups > t_.experts ? groups : t_.experts;
    counts_ = carver.take<std::uint32_t>(rows() * columns);
    begins_ = carver.take<std::uint32_t>(rows() * (t_.experts + 1));
    row_slots_ = carver.take<std::uint32_t>(slots);
    members_ = carver.take<std::uint32_t>(slots);
    token_best_ = carver.take<float>(t_.tokens);
    row_best_ = carver.take<std::uint64_t>(rows());
    rank_spill_ = carver.take<std::uint64_t>(2 * slots);
    key_spill_ = carver.take<std::uint64_t>(2 * slots);
    mass_spill_ = carver.take<std::uint32_t>(slots);
  }

  template <class Index>
  status run(const device_stream& on, const route::outputs<Index>& out) const {
    if constexpr (tables_type::asks_experts) {
      return {};  // never covered
    } else {
      if constexpr (std::is_same_v<Capacity, prune::unlimited>)
        if (keeps_all(t_, out)) return run_unpruned(on, out);
      return run_pruned(on, out);
    }
  }

 private:
  std::int64_t rows() const { return divide_up(t_.tokens, choice_.row_tokens()); }

  //! What the pruning bodies are told.
  route_experts experts_call(const device_stream& on) const {
    route_experts r;
    r.call.assignments = t_.merged_assignments();
    r.call.batch = t_.facts();
    r.call.options = t_.options.prune;
    r.call.out = t_.pruned;
    r.call.num_tokens = on.num_tokens;
    r.call.token_best = token_best_;
    r.call.tile_best = row_best_;
    r.call.best_tiles = rows();
    r.call.rank_spill = mass_spill_;
    r.call.key_spill = key_spill_;
    r.lists = {begins_, row_slots_, choice_.row_tokens() * t_.options.choice.top_k, t_.experts};
    r.members = members_;
    r.rank_spill = rank_spill_;
    r.rank_in_expert = t_.merged.rank_in_expert;
    r.kept_counts = counts_;
    r.row_tokens = choice_.row_tokens();
    return r;
  }

  //! Last launch: the plan, from counts by row.
  template <class Index>
  status place_rows(const device_stream& on, const std::int32_t* ids, const route::outputs<Index>& out) const {
    const slot_experts experts = plan_experts(t_, t_.choices(), ids);
    assignment_view kept = t_.choices();
    kept.ids = ids;
    const std::int64_t slots = t_.most_slots();
    const std::int64_t row_slots = choice_.row_tokens() * t_.options.choice.top_k;
    const group_tiling tiling(slots, experts.groups);
    const std::int64_t tile_slots = divide_up(tiling.tile_slots, row_slots) * row_slots;
    using position = typename rows_by_slot<Index>::position;
    const int warps = group_warps<position>(tile_slots, experts.groups);
    return launch(
        on, {divide_up(slots, tile_slots), warps * warp_size, group_scratch<position>::bytes(experts.groups, warps)},
        kernel_route_place<place_threads<position>, Index>, kept, experts, on.num_tokens, tile_slots, row_slots,
        static_cast<const std::uint32_t*>(counts_), rows_by_slot<Index>{rows_of_plan(t_, out)});
  }

  template <class Index>
  status run_unpruned(const device_stream& on, const route::outputs<Index>& out) const {
    const slot_experts experts = plan_experts(t_, t_.choices(), t_.choice.topk_ids);
    checks c;
    c.also(choice_.launch_rows(on, count_chosen{t_.choices(), experts, counts_}, [&](int) {
      return static_cast<std::size_t>(least(experts.groups, count_range)) * sizeof(unsigned);
    }));
    if (c.result().ok() && out.plan.expert_offsets != nullptr) c.also(place_rows(on, t_.choice.topk_ids, out));
    return c.result();
  }

  template <class Index>
  status run_pruned(const device_stream& on, const route::outputs<Index>& out) const {
    const route_experts r = experts_call(on);
    row_list_placement placement;
    placement.lists = r.lists;
    placement.ids = t_.pruned.ids;
    placement.weights = t_.pruned.weights;
    placement.rank_in_expert = t_.merged.rank_in_expert;
    checks c;
    c.also(choice_.launch_rows(on, list_chosen{r.call, placement, wants_best<Capacity, Order>(t_.pruned)},
                               [&](int warps) { return group_scratch<unsigned>::bytes(t_.experts, warps); }));
    if (c.result().ok())
      c.also(launch(on, {t_.experts, route_expert_threads, 0},
                    kernel_route_experts<route_expert_threads, Capacity, Order>, t_.options.capacity, r));
    if (c.result().ok() && out.plan.expert_offsets != nullptr) c.also(place_rows(on, t_.pruned.ids, out));
    return c.result();
  }

  tables_type t_;
  route_choice<tables_type, Score, Selection> choice_;
  std::uint32_t* counts_ = nullptr;      // [rows][max(E, L)]
  std::uint32_t* begins_ = nullptr;      // [rows][E + 1]
  std::uint32_t* row_slots_ = nullptr;   // [slots]
  std::uint32_t* members_ = nullptr;     // [slots]
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

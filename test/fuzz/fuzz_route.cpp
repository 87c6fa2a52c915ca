// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: bytes become a shape, policies, options and raw floats. Whatever they are, a route is refused or
// keeps its promises, and nothing is touched outside the arrays: each is its own allocation of the exact size.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <resonance/resonance.hpp>

namespace {

namespace affinity = resonance::affinity;
namespace merge = resonance::merge;
namespace prune = resonance::prune;
namespace token_choice = resonance::token_choice;

void demand(bool holds) {
  if (!holds) std::abort();
}

//! The fuzzer's bytes as numbers; zeros after their end.
class byte_source {
 public:
  byte_source(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  template <class Value>
  Value take() {
    Value value{};
    const std::size_t count = size_ < sizeof value ? size_ : sizeof value;
    if (count > 0) std::memcpy(&value, data_, count);
    data_ += count;
    size_ -= count;
    return value;
  }
  std::int32_t below(int bound) { return take<std::uint8_t>() % bound; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

//! `size` elements and not one more; no memory at all for none, so that a read of an empty array is seen too.
template <class Value>
class exact {
 public:
  explicit exact(std::int64_t size)
      : size_(size), values_(size > 0 ? new Value[static_cast<std::size_t>(size)] : nullptr) {
    if (size > 0) std::memset(static_cast<void*>(values_.get()), 0x5A, static_cast<std::size_t>(size) * sizeof(Value));
  }
  exact(std::int64_t size, byte_source& bytes) : exact(size) {
    for (std::int64_t i = 0; i < size; ++i) values_[static_cast<std::size_t>(i)] = bytes.take<Value>();
  }
  Value* data() const { return values_.get(); }
  std::int64_t size() const { return size_; }
  Value& operator[](std::int64_t i) const { return values_[static_cast<std::size_t>(i)]; }

 private:
  std::int64_t size_;
  std::unique_ptr<Value[]> values_;
};

//! Runs the pieces of a stage one by one, backwards.
struct reverse_executor {
  int workers() const { return 3; }
  template <class F>
  void run(int count, F&& f) const {
    for (int i = count - 1; i >= 0; --i) f(i);
  }
};

struct shape {
  std::int64_t tokens, hidden;
  std::int32_t experts;
};

//! Options that a route accepts most of the time.
template <class Options>
void draw_shared(byte_source& bytes, const shape& s, Options& o, const exact<float>& bias,
                 const exact<std::int32_t>& expert_map) {
  o.choice.top_k = bytes.below(s.experts + 1);
  const std::uint8_t switches = bytes.take<std::uint8_t>();
  if ((switches & 1) != 0) o.choice.correction_bias = bias.data();
  o.choice.renormalize = (switches & 2) != 0;
  if ((switches & 4) != 0) o.choice.missing = token_choice::missing_choice::lowest_ids;
  o.prune.shared = (switches & 8) != 0;
  o.prune.renormalize = (switches & 16) != 0;
  o.plan.by_affinity = (switches & 32) != 0;
  o.plan.tile_tokens = bytes.below(9);
  if ((switches & 64) != 0) o.plan.pad_to_capacity = bytes.below(20);
  if ((switches & 128) != 0) {
    o.plan.expert_map = expert_map.data();
    o.plan.num_local = bytes.below(s.experts + 1);
  }
  if (bytes.below(2) == 1) o.choice.routed_scaling_factor = bytes.take<float>();
  if (bytes.below(2) == 1) o.score.temperature = bytes.take<float>();
  if (bytes.below(2) == 1) o.score.logit_cap = bytes.take<float>();
  o.expert_capacity = bytes.below(20) - 2;
  o.prune.capacity_cap = bytes.below(20) - 2;
  o.prune.hidden = bytes.below(100);
}

//! There and back with rows of raw bits: rows hold their token's bits, padding is zero.
template <class Row>
void check_moves(const resonance::permute::row_plan<>& plan, byte_source& bytes) {
  const reverse_executor executor;
  const resonance::assignment_view& a = plan.assignments;
  const std::int64_t width = bytes.below(7);
  const exact<Row> x(a.tokens * width, bytes);
  const exact<Row> permuted(plan.num_rows * width);
  const exact<Row> y(a.tokens * width);
  using rows = resonance::matrix_view<Row>;
  using const_rows = resonance::matrix_view<const Row>;
  demand(resonance::permute::host_permute(executor, const_rows(x.data(), a.tokens, width), plan,
                                          rows(permuted.data(), plan.num_rows, width))
             .ok());
  const std::size_t row_bytes = static_cast<std::size_t>(width) * sizeof(Row);
  for (std::int64_t row = 0; row < plan.num_rows && width > 0; ++row) {
    const std::int64_t slot = plan.sorted_token_ids[row];
    const exact<Row> zeros(width);
    std::memset(static_cast<void*>(zeros.data()), 0, row_bytes);
    const Row* wanted = slot < 0 ? zeros.data() : x.data() + a.token(slot) * width;
    demand(std::memcmp(permuted.data() + row * width, wanted, row_bytes) == 0);
  }
  demand(resonance::permute::host_unpermute(executor, const_rows(permuted.data(), plan.num_rows, width), plan,
                                            rows(y.data(), a.tokens, width), resonance::permute::no_slot::passthrough,
                                            const_rows(x.data(), a.tokens, width))
             .ok());
  for (std::int64_t t = 0; t < a.tokens && width > 0; ++t) {
    bool has_row = false;
    for (std::int64_t slot = a.begin(t); slot < a.end(t); ++slot) has_row = has_row || plan.inverse[slot] >= 0;
    demand(has_row || std::memcmp(y.data() + t * width, x.data() + t * width, row_bytes) == 0);
  }
}

template <class Row, class Input, class M, class S, class G, class C, class F, class O>
void check_route(const Input& input, const shape& s, const resonance::route::options<M, S, G, C, F, O>& o,
                 byte_source& bytes) {
  const reverse_executor executor;
  const std::size_t needed = resonance::route::host_route_workspace_bytes(executor, input, o);
  const std::int64_t slots = resonance::route::host_route_slots(input, o);
  if (needed == 0) {  // refused, and so without any output
    demand(!resonance::route::host_route(executor, input, o, resonance::route::outputs<>{}, {}).ok());
    return;
  }
  resonance::assignment_view shape_of_choices;
  shape_of_choices.tokens = s.tokens;
  shape_of_choices.experts = s.experts;
  shape_of_choices.slots_per_token = o.choice.top_k;
  const float present = 0;
  shape_of_choices.affinity = &present;
  if (!o.plan.check(shape_of_choices).ok()) return;

  const std::int64_t chosen = s.tokens * o.choice.top_k;
  const std::int32_t local = o.plan.local_experts(s.experts);
  const std::int64_t most_rows = resonance::plan::max_rows(slots, s.experts, o.plan);
  const exact<std::int32_t> topk_ids(chosen), kept(slots), ranks(slots), merged_ids(slots), token_of_slot(slots);
  const exact<std::int32_t> offsets(local + 1), sorted(most_rows), inverse(slots);
  const exact<std::int32_t> expert_ids(most_rows / o.plan.tile_tokens);
  const exact<float> topk_weights(chosen), kept_weights(slots), merged_weights(slots), merged_affinity(slots);
  const exact<std::int64_t> token_offsets(s.tokens + 1), capacities(s.experts), kept_counts(s.experts), num_rows(2);
  resonance::route::outputs<> out;
  out.choice = {topk_ids.data(), topk_weights.data(), nullptr};
  out.merged = {merged_ids.data(),
                merged_weights.data(),
                merged_affinity.data(),
                ranks.data(),
                token_offsets.data(),
                token_of_slot.data(),
                slots};
  out.prune.ids = kept.data();
  out.prune.weights = kept_weights.data();
  out.prune.capacities = capacities.data();
  out.prune.kept = kept_counts.data();
  out.plan = {nullptr, offsets.data(), sorted.data(), inverse.data(), expert_ids.data(), num_rows.data()};
  const exact<char> workspace(static_cast<std::int64_t>(needed));
  demand(resonance::route::host_route(executor, input, o, out, {workspace.data(), needed}).ok());

  for (std::int64_t i = 0; i < chosen; ++i) demand(topk_ids[i] >= -1 && topk_ids[i] < s.experts);
  resonance::assignment_view a = shape_of_choices;
  a.affinity = nullptr;
  a.ids = kept.data();
  a.weights = kept_weights.data();
  if (G::adds_expert_choice) {
    a.slots_per_token = 0;
    a.token_offsets = token_offsets.data();
    a.token_of_slot = token_of_slot.data();
    demand(token_offsets[0] == 0 && token_offsets[s.tokens] <= slots);
    for (std::int64_t t = 0; t < s.tokens; ++t) demand(a.begin(t) <= a.end(t));
  }
  const exact<std::int64_t> counts(s.experts);
  for (std::int64_t e = 0; e < s.experts; ++e) counts[e] = 0;
  for (std::int64_t slot = 0; slot < a.slots(); ++slot) {
    demand(kept[slot] >= -1 && kept[slot] < s.experts);
    if (kept[slot] >= 0) ++counts[kept[slot]];
    if (kept[slot] < 0) demand(kept_weights[slot] == 0.0f);
  }
  for (std::int64_t e = 0; e < s.experts; ++e) demand(counts[e] == kept_counts[e] && counts[e] <= capacities[e]);

  demand(offsets[0] == 0 && offsets[local] == num_rows[0] && num_rows[0] <= most_rows && num_rows[1] <= num_rows[0]);
  std::int64_t used = 0;
  for (std::int32_t e = 0; e < local; ++e) {
    demand(offsets[e] <= offsets[e + 1] && offsets[e] % o.plan.tile_tokens == 0);
    for (std::int64_t row = offsets[e]; row < offsets[e + 1]; ++row) {
      demand(expert_ids[row / o.plan.tile_tokens] == e);
      const std::int64_t slot = sorted[row];
      demand(slot >= -1 && slot < a.slots());
      if (slot < 0) continue;
      ++used;
      demand(inverse[slot] == row && o.plan.local_expert(a, slot) == e);
    }
  }
  demand(used == num_rows[1]);
  for (std::int64_t slot = 0; slot < a.slots(); ++slot)
    demand(inverse[slot] == -1 || (inverse[slot] >= 0 && inverse[slot] < num_rows[0] && sorted[inverse[slot]] == slot));
  check_moves<Row>({a, sorted.data(), inverse.data(), num_rows[0]}, bytes);
}

template <class M, class S, class G, class C, class F, class O, class Input, class Row, class Draw>
void draw_and_check(const Input& input, const shape& s, byte_source& bytes, const exact<float>& bias,
                    const exact<std::int32_t>& expert_map, const Row*, const Draw& draw) {
  resonance::route::options<M, S, G, C, F, O> options;
  draw_shared(bytes, s, options, bias, expert_map);
  draw(options);
  check_route<Row>(input, s, options, bytes);
}

template <class Row>
void fuzz(byte_source& bytes) {
  shape s;
  s.tokens = bytes.below(20);
  s.experts = bytes.below(14);
  s.hidden = bytes.below(40);
  const std::int32_t composition = bytes.below(6);
  const exact<float> bias(s.experts, bytes);
  const exact<std::int32_t> expert_map(s.experts, bytes);
  for (std::int64_t e = 0; e < s.experts; ++e)
    if (expert_map[e] % 3 != 0) expert_map[e] = (expert_map[e] & 15) - 1;
  const exact<std::int32_t> ranks(s.experts, bytes);
  const exact<std::int64_t> capacities(s.experts);
  for (std::int64_t e = 0; e < s.experts; ++e) ranks[e] &= 15, capacities[e] = bytes.below(12) - 1;

  const exact<Row> x((composition < 2 ? s.tokens : 0) * s.hidden, bytes);
  const exact<Row> gate((composition == 1 ? s.experts : 0) * s.hidden, bytes);
  const exact<Row> logits((composition < 2 ? 0 : s.tokens) * s.experts, bytes);
  const exact<float> token_norms(s.tokens, bytes);
  const exact<float> gate_norms(s.experts, bytes);
  affinity::hidden_input<Row> states;
  states.hidden = {x.data(), s.tokens, s.hidden};
  if (composition == 1) states.gate = {gate.data(), s.experts, s.hidden};
  states.experts = s.experts;
  affinity::logits_input<Row> given;
  given.logits = {logits.data(), s.tokens, s.experts};
  given.token_norms = token_norms.data();
  given.gate_norms = gate_norms.data();
  const Row* row = nullptr;

  if (composition == 0) {
    draw_and_check<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::affinity_mass,
                   affinity::softmax, prune::affinity_order>(states, s, bytes, bias, expert_map, row,
                                                             [&](auto& o) { o.capacity.rho = bytes.below(12) / 10.0; });
  } else if (composition == 1) {
    draw_and_check<affinity::cosine, token_choice::grouped_top_k, merge::union_, prune::lower_bound, affinity::sigmoid,
                   prune::batch_prioritized>(states, s, bytes, bias, expert_map, row, [&](auto& o) {
      o.selection.n_group = bytes.below(7);
      o.selection.topk_group = bytes.below(7);
      o.capacity.delta_given = bytes.below(2) == 1;
      o.capacity.delta = bytes.take<double>();
      o.capacity.floor = bytes.below(5) - 1;
    });
  } else if (composition == 2) {
    draw_and_check<affinity::logits, token_choice::top_p, merge::intersection, prune::factor, affinity::sqrt_softplus,
                   prune::slot_major>(given, s, bytes, bias, expert_map, row, [&](auto& o) {
      o.selection.p = bytes.below(12) / 10.0;
      o.capacity.capacity_factor = bytes.take<double>();
    });
  } else if (composition == 3) {
    draw_and_check<affinity::cosine_of_logits, token_choice::rank_set, merge::expert_only, prune::per_expert,
                   affinity::relu_softmax, prune::position>(given, s, bytes, bias, expert_map, row, [&](auto& o) {
      o.selection.ranks = ranks.data();
      o.capacity.capacities = capacities.data();
    });
  } else if (composition == 4) {
    draw_and_check<affinity::logits, token_choice::threshold, merge::restricted, prune::heterogeneous_factor,
                   affinity::sigmoid, prune::slot_major_prioritized>(
        given, s, bytes, bias, expert_map, row, [&](auto& o) {
          o.selection.above = bytes.take<float>();
          o.capacity.capacity_factor = bytes.below(12) / 10.0;
          o.capacity.tau = bytes.take<double>();
          o.capacity.full_experts = bytes.below(24) - 1;
          o.capacity.counts_k = bytes.below(2) == 1;
        });
  } else {
    draw_and_check<affinity::logits, token_choice::grouped_top_k, merge::union_, prune::affinity_mass,
                   affinity::softmax_over_chosen, prune::affinity_order>(given, s, bytes, bias, expert_map, row,
                                                                         [&](auto& o) {
                                                                           o.selection.n_group = bytes.below(7);
                                                                           o.selection.topk_group = bytes.below(7);
                                                                           o.capacity.rho = bytes.take<float>();
                                                                         });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  byte_source bytes(data, size);
  switch (bytes.below(3)) {
    case 0: fuzz<float>(bytes); break;
    case 1: fuzz<resonance::bfloat16>(bytes); break;
    default: fuzz<resonance::float16>(bytes); break;
  }
  return 0;
}

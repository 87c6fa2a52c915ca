// SPDX-License-Identifier: Apache-2.0
// Prints a digest of every bit that each host stage writes, over many shapes, policies and row types. Built with
// different instruction sets, optimizations and compilers, it must print the same.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <resonance/resonance.hpp>

namespace {

namespace affinity = resonance::affinity;
namespace merge = resonance::merge;
namespace prune = resonance::prune;
namespace token_choice = resonance::token_choice;

//! FNV-1a, 64 bits.
class digest {
 public:
  template <class Value>
  void add(const std::vector<Value>& values) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(Value); ++i) hash_ = (hash_ ^ bytes[i]) * 0x100000001b3U;
  }
  unsigned long long value() const { return hash_; }

 private:
  unsigned long long hash_ = 0xcbf29ce484222325U;
};

//! Inputs made of integers and exact conversions, so that they can't depend on how this file is compiled.
class exact_source {
 public:
  explicit exact_source(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {  // splitmix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  //! In [-4, 4), 24 bits; now and then NaN, an infinity, -0, a subnormal or a huge number where `hostile`.
  float value(bool hostile) {
    const std::uint64_t word = bits();
    static const std::uint32_t odd[] = {0x7fc00000U, 0x7f800000U, 0xff800000U, 0x80000000U,
                                        0x00000003U, 0x7f7fffffU, 0xff7fffffU, 0x42b80000U};
    if (hostile && word % 5 == 0) {
      float result;
      std::memcpy(&result, &odd[(word >> 8) % 8], sizeof result);
      return result;
    }
    return static_cast<float>(static_cast<std::int32_t>(word >> 40) - (1 << 23)) * 0x1p-21F;
  }

 private:
  std::uint64_t state_;
};

template <class Row>
std::vector<Row> rows_of(exact_source& source, std::int64_t count, bool hostile = false) {
  std::vector<Row> rows(static_cast<std::size_t>(count));
  for (Row& row : rows) row = resonance::row_traits<Row>::narrow(source.value(hostile));
  return rows;
}

struct digests {
  digest affinity, scores, blend, contrast, sinkhorn, sparse_mixer, choice, merge, prune, plan, unpermute;
};

const resonance::serial_executor serial;

template <class Row, class Input, class Options>
void add_route(digests& d, const Input& input, std::int64_t tokens, std::int32_t experts, const Options& options,
               exact_source& source) {
  const auto t = static_cast<std::size_t>(tokens);
  const auto e = static_cast<std::size_t>(experts);
  const auto slots = static_cast<std::size_t>(resonance::route::host_route_slots(input, options));
  const auto chosen = t * static_cast<std::size_t>(options.choice.top_k);
  std::vector<std::int32_t> ids(chosen), merged_ids(slots), ranks(slots), token_of_slot(slots), kept(slots);
  std::vector<float> weights(chosen), deltas(chosen), all(t * e), merged_weights(slots), merged_affinity(slots);
  std::vector<float> kept_weights(slots), delta_max(1);
  std::vector<std::int64_t> offsets(t + 1), capacities(e), counts(e), num_rows(2);
  std::vector<double> mass(e), kept_mass(e);
  const auto rows =
      static_cast<std::size_t>(resonance::plan::max_rows(static_cast<std::int64_t>(slots), experts, options.plan));
  std::vector<std::int32_t> expert_offsets(e + 1), sorted(rows), inverse(slots);
  resonance::route::outputs<> out;
  out.choice = {ids.data(), weights.data(), deltas.data()};
  out.affinity = {all.data(), tokens, experts};
  out.merged = {merged_ids.data(), merged_weights.data(), merged_affinity.data(),          ranks.data(),
                offsets.data(),    token_of_slot.data(),  static_cast<std::int64_t>(slots)};
  out.prune = {kept.data(), kept_weights.data(), capacities.data(), counts.data(),
               nullptr,     mass.data(),         kept_mass.data(),  delta_max.data()};
  out.plan = {nullptr, expert_offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows.data()};
  std::vector<char> workspace(resonance::route::host_route_workspace_bytes(serial, input, options));
  const resonance::status outcome =
      resonance::route::host_route(serial, input, options, out, {workspace.data(), workspace.size()});
  if (!outcome.ok()) std::printf("route refused: %s %s\n", outcome.argument, outcome.message());

  resonance::assignment_view view;
  view.tokens = tokens;
  view.experts = experts;
  view.slots_per_token = options.choice.top_k;
  view.weights = kept_weights.data();
  view.ids = kept.data();
  if (decltype(options.merge)::adds_expert_choice) {
    view.token_offsets = offsets.data();
    view.token_of_slot = token_of_slot.data();
  }
  const std::int64_t width = 45;
  const std::vector<Row> experts_output = rows_of<Row>(source, num_rows[0] * width);
  std::vector<Row> y(t * static_cast<std::size_t>(width));
  const resonance::permute::row_plan<> plan{view, sorted.data(), inverse.data(), num_rows[0]};
  const resonance::status combined = resonance::permute::host_unpermute(
      serial, resonance::matrix_view<const Row>(experts_output.data(), num_rows[0], width), plan,
      resonance::matrix_view<Row>(y.data(), tokens, width));
  if (!combined.ok()) std::printf("unpermute refused: %s %s\n", combined.argument, combined.message());

  d.affinity.add(all);
  d.choice.add(ids), d.choice.add(weights), d.choice.add(deltas);
  d.merge.add(merged_ids), d.merge.add(ranks), d.merge.add(merged_weights), d.merge.add(merged_affinity);
  d.prune.add(kept), d.prune.add(kept_weights), d.prune.add(capacities), d.prune.add(mass), d.prune.add(kept_mass);
  d.plan.add(expert_offsets), d.plan.add(sorted), d.plan.add(inverse);
  d.unpermute.add(y);
}

template <class Score, class Input>
void add_scores(digests& d, const Score& score, const Input& logits, std::int64_t tokens, std::int64_t experts) {
  std::vector<float> scores(static_cast<std::size_t>(tokens * experts));
  for (const affinity::softmax_axis axis : {affinity::softmax_axis::experts, affinity::softmax_axis::tokens}) {
    const resonance::status outcome =
        affinity::host_scores(serial, score, {logits.data(), tokens, experts}, {scores.data(), tokens, experts}, axis);
    if (!outcome.ok()) std::printf("scores refused: %s %s\n", outcome.argument, outcome.message());
    d.scores.add(scores);
  }
}

//! Scores blended with two sequences' priors.
void add_blend(digests& d, const std::vector<float>& scores, std::int64_t tokens, std::int64_t experts,
               exact_source& source) {
  const std::vector<float> prior = rows_of<float>(source, 2 * experts, true);
  std::vector<std::int32_t> sequences;
  for (std::int64_t t = 0; t < tokens; ++t) sequences.push_back(static_cast<std::int32_t>(source.bits() % 4) - 1);
  std::vector<float> blend(scores.size());
  const resonance::status outcome = affinity::host_blend_prior(serial, {scores.data(), tokens, experts},
                                                               {{prior.data(), 2, experts}, sequences.data()},
                                                               {19.3F, 1.7F}, {blend.data(), tokens, experts});
  if (!outcome.ok()) std::printf("blend refused: %s %s\n", outcome.argument, outcome.message());
  d.blend.add(blend);
}

template <class Row>
void add_contrast(digests& d, const std::vector<Row>& strong, const std::vector<Row>& weak, std::int64_t tokens,
                  std::int64_t count) {
  std::vector<float> contrast(strong.size());
  const resonance::status outcome = affinity::host_contrast_logits(
      serial, resonance::matrix_view<const Row>(strong.data(), tokens, count),
      resonance::matrix_view<const Row>(weak.data(), tokens, count), {0.01F, 0.7F}, {contrast.data(), tokens, count});
  if (!outcome.ok()) std::printf("contrast refused: %s %s\n", outcome.argument, outcome.message());
  d.contrast.add(contrast);
}

//! The bias of a balanced assignment, and SparseMixer's weights of two experts of every token.
template <class Row>
void add_balanced(digests& d, const std::vector<Row>& logits, std::int64_t tokens, std::int32_t experts) {
  const resonance::matrix_view<const Row> rows(logits.data(), tokens, experts);
  std::vector<float> bias(static_cast<std::size_t>(experts));
  std::vector<char> workspace(resonance::balance::host_sinkhorn_workspace_bytes(serial, tokens, experts));
  const resonance::status balanced =
      resonance::balance::host_sinkhorn(serial, rows, {}, bias.data(), {workspace.data(), workspace.size()});
  if (!balanced.ok()) std::printf("sinkhorn refused: %s %s\n", balanced.argument, balanced.message());
  d.sinkhorn.add(bias);

  std::vector<std::int32_t> ids(static_cast<std::size_t>(2 * tokens));
  for (std::size_t slot = 0; slot < ids.size(); ++slot)
    ids[slot] = static_cast<std::int32_t>(slot * 7 % static_cast<std::size_t>(experts));
  std::vector<float> weights(ids.size());
  resonance::assignment_view view;
  view.tokens = tokens;
  view.experts = experts;
  view.slots_per_token = 2;
  view.ids = ids.data();
  const resonance::status mixed =
      resonance::token_choice::host_sparse_mixer_weights(serial, rows, view, {0.2F}, weights.data());
  if (!mixed.ok()) std::printf("sparse mixer refused: %s %s\n", mixed.argument, mixed.message());
  d.sparse_mixer.add(weights);
}

struct shape {
  std::int64_t tokens;
  std::int64_t hidden;
  std::int32_t experts;
  std::int32_t top_k;
};

template <class Row>
void add_shape(digests& d, const shape& s, exact_source& source) {
  const std::vector<Row> x = rows_of<Row>(source, s.tokens * s.hidden);
  const std::vector<Row> gate = rows_of<Row>(source, s.experts * s.hidden);
  const std::vector<float> slice_weights = rows_of<float>(source, s.hidden);
  const std::vector<Row> logits = rows_of<Row>(source, s.tokens * s.experts);
  const std::vector<Row> hostile = rows_of<Row>(source, s.tokens * s.experts, true);
  const std::vector<float> bias = rows_of<float>(source, s.experts);
  const std::vector<float> token_norms(static_cast<std::size_t>(s.tokens), 1.7F);
  const std::vector<float> gate_norms(static_cast<std::size_t>(s.experts), 0.3F);
  affinity::hidden_input<Row> states;
  states.hidden = {x.data(), s.tokens, s.hidden};
  states.gate = {gate.data(), s.experts, s.hidden};
  states.experts = s.experts;
  affinity::logits_input<Row> given;
  given.logits = {logits.data(), s.tokens, s.experts};
  given.token_norms = token_norms.data();
  given.gate_norms = gate_norms.data();

  resonance::route::options<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted,
                            prune::affinity_mass, affinity::softmax, prune::affinity_order>
      paper;
  paper.choice.top_k = s.top_k;
  paper.capacity.rho = 0.76;
  add_route<Row>(d, states, s.tokens, s.experts, paper, source);
  states.slice_weights = slice_weights.data();
  paper.choice.renormalize = true;
  paper.choice.routed_scaling_factor = 2.5F;
  add_route<Row>(d, states, s.tokens, s.experts, paper, source);

  resonance::route::options<affinity::cosine, token_choice::top_p, merge::union_, prune::lower_bound, affinity::sigmoid,
                            prune::slot_major>
      both_sides;
  both_sides.choice.top_k = s.top_k;
  both_sides.selection.p = 0.6;
  both_sides.expert_capacity = s.tokens / 3;
  both_sides.score.logit_cap = 0.7F;
  add_route<Row>(d, states, s.tokens, s.experts, both_sides, source);

  resonance::route::options<affinity::dot, token_choice::grouped_top_k, merge::intersection, prune::factor,
                            affinity::sqrt_softplus, prune::batch_prioritized>
      grouped;
  grouped.choice.top_k = s.top_k;
  grouped.choice.correction_bias = bias.data();
  grouped.score.temperature = 0.7F;
  grouped.selection.n_group = s.experts % 4 == 0 ? 4 : 1;
  grouped.selection.topk_group = s.experts % 4 == 0 ? 2 : 1;
  add_route<Row>(d, states, s.tokens, s.experts, grouped, source);

  resonance::route::options<affinity::logits, token_choice::top_k, merge::expert_only, prune::affinity_mass,
                            affinity::relu_softmax, prune::affinity_order>
      expert_only;
  expert_only.choice.top_k = s.top_k;
  expert_only.capacity.rho = 0.4;
  expert_only.plan.by_affinity = true;
  add_route<Row>(d, given, s.tokens, s.experts, expert_only, source);
  given.logits = {hostile.data(), s.tokens, s.experts};
  add_route<Row>(d, given, s.tokens, s.experts, expert_only, source);

  resonance::route::options<affinity::cosine_of_logits, token_choice::top_k, merge::token_only, prune::fixed,
                            affinity::softmax_over_chosen, prune::position>
      plain;
  plain.choice.top_k = s.top_k;
  plain.capacity.count = s.tokens / 2;
  plain.plan.tile_tokens = 8;
  add_route<Row>(d, given, s.tokens, s.experts, plain, source);

  const std::vector<float> deltas = rows_of<float>(source, s.tokens * s.experts, s.tokens % 2 == 0);
  add_scores(d, affinity::softmax{}, deltas, s.tokens, s.experts);
  add_scores(d, affinity::sigmoid{}, deltas, s.tokens, s.experts);
  add_scores(d, affinity::sqrt_softplus{}, deltas, s.tokens, s.experts);
  add_scores(d, affinity::relu_softmax{}, deltas, s.tokens, s.experts);
  affinity::softmax capped;
  capped.logit_cap = 3.0F;
  capped.temperature = 0.9F;
  add_scores(d, capped, deltas, s.tokens, s.experts);
  add_blend(d, deltas, s.tokens, s.experts, source);
  add_balanced(d, hostile, s.tokens, s.experts);
  add_contrast(d, hostile, rows_of<Row>(source, s.tokens * s.experts), s.tokens, s.experts);
}

//! Sums in double: merged reports, projectors and a step.
template <class Row>
digest offline_digest() {
  namespace offline = resonance::offline;
  digest d;
  exact_source source(43);
  constexpr std::int32_t experts = 3, reports = 5;
  constexpr std::int64_t hidden = 21;
  const std::vector<Row> rows = rows_of<Row>(source, 40 * hidden);
  const std::vector<std::int32_t> offsets = {0, 25, 25, 40};
  std::vector<double> projectors(experts * hidden * hidden), mean(hidden * hidden);
  std::vector<float> weights = rows_of<float>(source, 4 * hidden);
  const std::vector<float> update = rows_of<float>(source, 4 * hidden);
  std::vector<std::int64_t> tokens(reports * experts);
  std::vector<double> updates(reports * experts), merged(2 * experts), shares(reports);
  std::vector<offline::rank_report> list(reports);
  for (std::int32_t r = 0; r < reports; ++r) {
    for (std::int32_t e = 0; e < experts; ++e) {
      const auto i = static_cast<std::size_t>(r * experts + e);
      tokens[i] = static_cast<std::int64_t>(source.bits() >> 44);
      updates[i] = static_cast<double>(source.value(false));
    }
    const auto i = static_cast<std::size_t>(r);
    list[i] = {r, 1 + static_cast<double>(source.bits() >> 44), r, &tokens[i * experts], &updates[i * experts]};
  }
  std::vector<char> memory(4096);
  const resonance::workspace_view workspace{memory.data(), memory.size()};
  const offline::projectors p{projectors.data(), experts, hidden};
  const resonance::status outcome =
      resonance::detail::checks{}
          .also(offline::reset_projectors(p))
          .also(offline::accumulate_projectors(serial, resonance::matrix_view<const Row>(rows.data(), 40, hidden),
                                               offsets.data(), 0.3, p, workspace))
          .also(offline::mean_of_other_projectors(p, 0, mean.data()))
          .also(offline::orthogonal_step(serial, resonance::matrix_view<float>(weights.data(), 4, hidden),
                                         resonance::matrix_view<const float>(update.data(), 4, hidden), mean.data(),
                                         0.1))
          .also(offline::merge_statistics(list.data(), reports, experts, {0.7, 9},
                                          {merged.data(), merged.data() + experts, shares.data(), nullptr}, workspace))
          .result();
  if (!outcome.ok()) std::printf("offline refused: %s %s\n", outcome.argument, outcome.message());
  d.add(projectors);
  d.add(weights);
  d.add(merged);
  d.add(shares);
  return d;
}

template <class Row>
void print_digests(const char* type) {
  digests d;
  exact_source source(42);
  const shape shapes[] = {{1, 1, 1, 1},      {7, 13, 6, 2},      {33, 100, 7, 7}, {40, 257, 13, 3},
                          {64, 1536, 72, 8}, {20, 2880, 128, 4}, {9, 4099, 8, 2}, {50, 300, 257, 40}};
  for (const shape& s : shapes) add_shape<Row>(d, s, source);
  const auto line = [&](const char* stage, const digest& of) {
    std::printf("%s %s %016llx\n", type, stage, of.value());
  };
  line("affinity", d.affinity);
  line("scores", d.scores);
  line("blend", d.blend);
  line("contrast", d.contrast);
  line("sinkhorn", d.sinkhorn);
  line("sparse_mixer", d.sparse_mixer);
  line("token_choice", d.choice);
  line("merge", d.merge);
  line("prune", d.prune);
  line("plan", d.plan);
  line("unpermute", d.unpermute);
  line("offline", offline_digest<Row>());
}

}  // namespace

int main() {
  print_digests<float>("float");
  print_digests<resonance::bfloat16>("bfloat16");
  print_digests<resonance::float16>("float16");
}

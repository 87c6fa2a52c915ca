// SPDX-License-Identifier: Apache-2.0
// The stages one by one: each is a function of its own, and what it hands on is a plain array or a small view.
// The same policies in one router give the same bits.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;

static void must(rs::status s) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s %s\n", s.argument, s.message());
  std::exit(1);
}

int main() {
  constexpr std::int64_t tokens = 300;
  constexpr std::int64_t hidden = 64;
  constexpr std::int32_t experts = 12;
  constexpr std::int32_t top_k = 3;
  constexpr std::size_t slots = tokens * top_k;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(tokens * hidden);
  std::vector<float> gate(experts * hidden);
  for (float& value : x) value = normal(random);
  for (float& value : gate) value = normal(random);

  const rs::serial_executor executor;
  std::vector<char> memory(1 << 20);  // enough for all: each stage also has a function that says what it needs
  const rs::workspace_view workspace{memory.data(), memory.size()};

  // 1. Affinity and token choice: one pass over the hidden states; no [T,E] matrix is written.
  using input_type = rs::affinity::hidden_input<float>;
  input_type input;
  input.hidden = {x.data(), tokens, hidden};
  input.gate = {gate.data(), experts, hidden};
  const rs::affinity::host_source<rs::affinity::cosine, input_type> source({}, input);
  rs::token_choice::options choice;
  choice.top_k = top_k;
  choice.renormalize = true;
  std::vector<std::int32_t> ids(slots);
  std::vector<float> weights(slots);
  std::vector<float> affinity(slots);
  const rs::choice_buffers chosen{ids.data(), weights.data(), affinity.data()};
  must(rs::token_choice::host_token_choice(executor, source, rs::affinity::softmax{}, rs::token_choice::top_k{}, choice,
                                           chosen, {}, workspace));

  // 2. Merge: every expert ranks the tokens that chose it.
  rs::assignment_view assignments = rs::as_assignments(chosen, tokens, experts, top_k);
  std::vector<std::int32_t> ranks(slots);
  rs::assignment_buffers ranked;
  ranked.rank_in_expert = ranks.data();
  must(rs::merge::host_merge(executor, rs::merge::restricted{}, assignments, {}, ranked, workspace));
  assignments.rank_in_expert = ranks.data();

  // 3. Prune: every expert keeps the best that its capacity holds.
  std::vector<std::int32_t> kept_ids(slots);
  std::vector<float> kept_weights(slots);
  rs::prune::outputs pruned;
  pruned.ids = kept_ids.data();
  pruned.weights = kept_weights.data();
  must(rs::prune::host_prune(executor, rs::prune::factor{1.0}, rs::prune::affinity_order{}, assignments, {}, pruned,
                             workspace));
  assignments.ids = kept_ids.data();
  assignments.weights = kept_weights.data();

  // 4. Plan: a row for every kept assignment, the rows of an expert side by side.
  std::vector<std::int32_t> offsets(experts + 1);
  std::vector<std::int32_t> sorted_token_ids(slots);
  std::vector<std::int32_t> inverse(slots);
  std::int64_t num_rows[2];
  const rs::plan::outputs<> planned{nullptr,        offsets.data(), sorted_token_ids.data(),
                                    inverse.data(), nullptr,        num_rows};
  must(rs::plan::host_plan(executor, assignments, {}, planned, workspace));

  // 5. Permute, the experts (here: expert e multiplies by e + 1), unpermute.
  const rs::permute::row_plan<> rows{assignments, sorted_token_ids.data(), inverse.data(), num_rows[0]};
  std::vector<float> expert_rows(static_cast<std::size_t>(num_rows[0] * hidden));
  std::vector<float> y(tokens * hidden);
  const rs::matrix_view<float> permuted(expert_rows.data(), num_rows[0], hidden);
  must(rs::permute::host_permute(executor, input.hidden, rows, permuted));
  for (std::int32_t e = 0; e < experts; ++e)
    for (std::int64_t row = offsets[static_cast<std::size_t>(e)]; row < offsets[static_cast<std::size_t>(e) + 1]; ++row)
      for (std::int64_t j = 0; j < hidden; ++j) permuted.row(row)[j] *= static_cast<float>(e + 1);
  const rs::matrix_view<float> combined(y.data(), tokens, hidden);
  must(rs::permute::host_unpermute(executor, rs::matrix_view<const float>(permuted), rows, combined));

  // The answer: y_t = x_t * sum of weight * (e + 1) over what is kept; and the router says the same, to the bit.
  double largest_error = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    double factor = 0;
    for (std::int64_t slot = assignments.begin(t); slot < assignments.end(t); ++slot)
      factor += static_cast<double>(assignments.weights[slot]) * (assignments.ids[slot] + 1);
    for (std::int64_t j = 0; j < hidden; ++j)
      largest_error = std::fmax(largest_error, std::fabs(combined.row(t)[j] - factor * input.hidden.row(t)[j]));
  }
  using router = rs::router<rs::affinity::cosine, rs::token_choice::top_k, rs::merge::restricted, rs::prune::factor>;
  router::options options;
  options.choice = choice;
  options.capacity = rs::prune::factor{1.0};
  std::vector<std::int32_t> routed_ids(slots);
  std::vector<float> routed_weights(slots);
  rs::route::outputs<> out;
  out.prune.ids = routed_ids.data();
  out.prune.weights = routed_weights.data();
  must(router::run(rs::on_host(executor), input, options, out, workspace));
  const bool equal = routed_ids == kept_ids && routed_weights == kept_weights;
  std::printf("%lld rows, largest error %.1e, router %s\n", static_cast<long long>(num_rows[0]), largest_error,
              equal ? "equal" : "DIFFERENT");
  return largest_error < 1e-4 && equal ? 0 : 1;
}

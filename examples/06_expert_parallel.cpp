// SPDX-License-Identifier: Apache-2.0
// Expert parallelism: every rank makes the plan of its own experts from the same routing; their outputs add up.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;

namespace shape {
constexpr std::int64_t tokens = 500;
constexpr std::int64_t hidden = 16;
constexpr std::int32_t experts = 9;
constexpr std::int32_t top_k = 2;
constexpr std::size_t slots = tokens * top_k;
}  // namespace shape

static void must(rs::status s) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s %s\n", s.argument, s.message());
  std::exit(1);
}

struct rank_result {
  std::vector<std::int32_t> inverse;
  std::vector<float> y;
  std::int64_t rows;
};

//! What one rank does; expert e multiplies by e + 1. A null map means that all experts are here.
static rank_result run_rank(const rs::assignment_view& routed, rs::matrix_view<const float> x,
                            const std::vector<std::int32_t>* expert_map, std::int32_t num_local) {
  rs::plan::options options;
  options.expert_map = expert_map != nullptr ? expert_map->data() : nullptr;
  options.num_local = num_local;
  rank_result result{std::vector<std::int32_t>(shape::slots), std::vector<float>(shape::tokens * shape::hidden), 0};
  std::vector<std::int32_t> offsets(static_cast<std::size_t>(num_local) + 1);
  std::vector<std::int32_t> sorted_token_ids(
      static_cast<std::size_t>(rs::plan::max_rows(shape::slots, shape::experts, options)));
  std::int64_t num_rows[2];
  std::vector<char> memory(1 << 16);
  const rs::serial_executor executor;
  must(rs::plan::host_plan(
      executor, routed, options,
      rs::plan::outputs<>{nullptr, offsets.data(), sorted_token_ids.data(), result.inverse.data(), nullptr, num_rows},
      {memory.data(), memory.size()}));
  result.rows = num_rows[0];

  const rs::permute::row_plan<> rows{routed, sorted_token_ids.data(), result.inverse.data(), result.rows};
  std::vector<float> local(static_cast<std::size_t>(result.rows * shape::hidden));
  const rs::matrix_view<float> permuted(local.data(), result.rows, shape::hidden);
  must(rs::permute::host_permute(executor, x, rows, permuted));
  for (std::int64_t row = 0; row < result.rows; ++row) {
    const std::int32_t expert = routed.ids[sorted_token_ids[static_cast<std::size_t>(row)]];
    for (std::int64_t j = 0; j < shape::hidden; ++j) permuted.row(row)[j] *= static_cast<float>(expert + 1);
  }
  must(rs::permute::host_unpermute(executor, rs::matrix_view<const float>(permuted), rows,
                                   rs::matrix_view<float>(result.y.data(), shape::tokens, shape::hidden)));
  return result;
}

int main() {
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  std::vector<float> x(shape::tokens * shape::hidden), logits(shape::tokens * shape::experts);
  for (float& value : x) value = normal(random);
  for (float& value : logits) value = normal(random);

  using router = rs::router<rs::affinity::logits, rs::token_choice::top_k, rs::merge::restricted, rs::prune::factor>;
  router::options options;
  options.choice.top_k = shape::top_k;
  options.capacity.capacity_factor = 1.0;
  rs::affinity::logits_input<float> input;
  input.logits = {logits.data(), shape::tokens, shape::experts};
  std::vector<std::int32_t> kept_ids(shape::slots);
  std::vector<float> kept_weights(shape::slots);
  rs::route::outputs<> out;
  out.prune.ids = kept_ids.data();
  out.prune.weights = kept_weights.data();
  const rs::serial_executor executor;
  const auto host = rs::on_host(executor);
  std::vector<char> workspace(router::workspace_bytes(host, input, options));
  must(router::run(host, input, options, out, {workspace.data(), workspace.size()}));
  rs::assignment_view routed;
  routed.tokens = shape::tokens;
  routed.experts = shape::experts;
  routed.slots_per_token = shape::top_k;
  routed.ids = kept_ids.data();
  routed.weights = kept_weights.data();

  // Rank 0 has the even experts, rank 1 the odd ones; -1 = elsewhere.
  const std::vector<std::int32_t> maps[2] = {{0, -1, 1, -1, 2, -1, 3, -1, 4}, {-1, 0, -1, 1, -1, 2, -1, 3, -1}};
  const rs::matrix_view<const float> rows(x.data(), shape::tokens, shape::hidden);
  const rank_result even = run_rank(routed, rows, &maps[0], 5);
  const rank_result odd = run_rank(routed, rows, &maps[1], 4);
  const rank_result all = run_rank(routed, rows, nullptr, shape::experts);

  bool covered = even.rows + odd.rows == all.rows && even.rows > 0 && odd.rows > 0;
  for (std::size_t slot = 0; slot < shape::slots; ++slot)  // every kept assignment has a row on exactly one rank
    covered = covered && (even.inverse[slot] >= 0) + (odd.inverse[slot] >= 0) == (kept_ids[slot] >= 0 ? 1 : 0);
  float largest_error = 0;
  for (std::size_t i = 0; i < all.y.size(); ++i)
    largest_error = std::fmax(largest_error, std::fabs(even.y[i] + odd.y[i] - all.y[i]));
  std::printf("rows: %lld + %lld of %lld, largest error of the sum %.1e\n", static_cast<long long>(even.rows),
              static_cast<long long>(odd.rows), static_cast<long long>(all.rows), static_cast<double>(largest_error));
  return covered && largest_error < 1e-5f ? 0 : 1;
}

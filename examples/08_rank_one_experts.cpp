// SPDX-License-Identifier: Apache-2.0
// A dense gate: 32 rank-1 experts inside a LoRA, each token's softmax blended with a prior of its sample (MoR1E).
// Expert i is the column b_i times the row a_i, so that all of them together are B((A x) * g); in the flexible mode
// g is a table [4,8], and expert (i,j) = b_j a_i^T: 32 experts from 4 rows and 8 columns.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include <resonance/resonance.hpp>

namespace rs = resonance;
using values = std::vector<float>;

namespace shape {
constexpr std::size_t tokens = 40;
constexpr std::size_t samples = 4;
constexpr std::size_t hidden = 48;
constexpr std::size_t experts = rs::catalogue::mor1e::experts;
constexpr std::size_t rows_of_a = 4;  // of the flexible mode
constexpr std::size_t columns_of_b = experts / rows_of_a;
}  // namespace shape

static void must(rs::status s) {
  if (s.ok()) return;
  std::fprintf(stderr, "%s %s\n", s.argument, s.message());
  std::exit(1);
}

static values product(const values& matrix, const values& x) {
  values y(matrix.size() / x.size(), 0.0f);
  for (std::size_t i = 0; i < y.size(); ++i)
    for (std::size_t j = 0; j < x.size(); ++j) y[i] += matrix[i * x.size() + j] * x[j];
  return y;
}

//! The largest difference between two vectors.
static double error(const values& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::fmax(largest, std::fabs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

int main() {
  using namespace shape;
  std::mt19937 random(8);
  std::normal_distribution<float> normal;
  const auto normals = [&](std::size_t count) {
    values v(count);
    for (float& value : v) value = 0.3f * normal(random);
    return v;
  };
  const values x = normals(tokens * hidden), router = normals(experts * hidden),
               similarity = normals(samples * experts);
  std::vector<std::int32_t> sample_of_token(tokens);
  for (std::size_t t = 0; t < tokens; ++t) sample_of_token[t] = static_cast<std::int32_t>(t * samples / tokens);

  // The gate: logits, softmax, blend. The table is written over each time.
  const rs::serial_executor executor;
  values g(tokens * experts);
  const rs::matrix_view<float> gate(g.data(), tokens, experts);
  rs::affinity::hidden_input<float> input;
  input.hidden = {x.data(), tokens, hidden};
  input.gate = {router.data(), experts, hidden};
  values logits(tokens * experts);
  std::vector<char> memory(rs::affinity::host_affinity_workspace_bytes(executor, rs::affinity::dot{}, input));
  must(rs::affinity::host_affinity(executor, rs::affinity::dot{}, input, {logits.data(), tokens, experts},
                                   {memory.data(), memory.size()}));
  must(rs::affinity::host_scores(executor, rs::affinity::softmax{}, {logits.data(), tokens, experts}, gate));
  rs::catalogue::mor1e model;
  model.theta_gate = 0.004f;
  must(rs::affinity::host_blend_prior(executor, gate, {{similarity.data(), samples, experts}, sample_of_token.data()},
                                      model.weights(), gate));

  // Both modes, and beside each the sum over all experts, one outer product at a time.
  const values a = normals(experts * hidden), b = normals(hidden * experts);
  const values few_a = normals(rows_of_a * hidden), few_b = normals(hidden * columns_of_b);
  double rank_one_error = 0, flexible_error = 0;
  for (std::size_t t = 0; t < tokens; ++t) {
    const values row(x.begin() + static_cast<std::ptrdiff_t>(t * hidden),
                     x.begin() + static_cast<std::ptrdiff_t>((t + 1) * hidden));
    const float* of_token = gate.row(static_cast<std::int64_t>(t));
    values down = product(a, row);
    const values few_down = product(few_a, row);
    std::vector<double> rank_one(hidden, 0.0), flexible(hidden, 0.0);
    values gathered(columns_of_b, 0.0f);
    for (std::size_t e = 0; e < experts; ++e) {
      const std::size_t i = e / columns_of_b, j = e % columns_of_b;
      for (std::size_t h = 0; h < hidden; ++h) {
        rank_one[h] += static_cast<double>(of_token[e]) * b[h * experts + e] * down[e] * model.scale();
        flexible[h] += static_cast<double>(of_token[e]) * few_b[h * columns_of_b + j] * few_down[i] * model.scale();
      }
      gathered[j] += of_token[e] * few_down[i];  // G^T (A x)
    }
    for (std::size_t e = 0; e < experts; ++e) down[e] *= of_token[e] * model.scale();
    for (float& value : gathered) value *= model.scale();
    rank_one_error = std::fmax(rank_one_error, error(product(b, down), rank_one));
    flexible_error = std::fmax(flexible_error, error(product(few_b, gathered), flexible));
  }
  std::printf("omega %.3f, %zu experts, largest error: rank-1 %.1e, flexible %.1e\n",
              static_cast<double>(model.omega()), experts, rank_one_error, flexible_error);
  return rank_one_error < 1e-4 && flexible_error < 1e-4 ? 0 : 1;
}

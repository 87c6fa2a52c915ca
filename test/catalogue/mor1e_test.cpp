// SPDX-License-Identifier: Apache-2.0
// MoR1E: the dense gate of rank-1 experts, through scores and blend, beside the paper's formulas in plain code.
#include <resonance/catalogue/mor1e.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include <resonance/affinity/host_blend.hpp>
#include <resonance/affinity/host_scores.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/executor.hpp>

#include "support/assignments.hpp"
#include "support/random.hpp"

namespace {

using namespace resonance;
using catalogue::mor1e;

constexpr std::size_t tokens = 24;
constexpr std::size_t sequences = 3;
constexpr std::size_t experts = mor1e::experts;
constexpr std::size_t in = 20, out_size = 12;
using values = std::vector<float>;

//! The library's gate: softmax of the token's logits, blended with its sample's prior.
values gate(const values& logits, const values& prior, const std::vector<std::int32_t>& samples, const mor1e& model) {
  values g(tokens * experts);
  const matrix_view<float> table(g.data(), tokens, experts);
  EXPECT_TRUE(support::accepted(
      affinity::host_scores(serial_executor{}, affinity::softmax{}, {logits.data(), tokens, experts}, table)));
  EXPECT_TRUE(support::accepted(affinity::host_blend_prior(
      serial_executor{}, table, {{prior.data(), sequences, experts}, samples.data()}, model.weights(), table)));
  return g;
}

struct batch {
  support::random_source random{11};
  values logits = support::normal_values(random, tokens* experts);
  values prior = support::normal_values(random, sequences* experts, 0.3);
  std::vector<std::int32_t> samples;
  batch() {
    for (std::size_t t = 0; t < tokens; ++t) samples.push_back(static_cast<std::int32_t>(t * sequences / tokens));
  }
};

TEST(Catalogue, Mor1eGateIsThePapers) {
  batch b;
  mor1e model;
  model.theta_gate = 0.007F;
  const values g = gate(b.logits, b.prior, b.samples, model);
  const double omega = 1 / (1 + std::exp(-0.7));
  for (std::size_t t = 0; t < tokens; ++t) {
    double sum = 0;
    for (std::size_t e = 0; e < experts; ++e) sum += std::exp(static_cast<double>(b.logits[t * experts + e]));
    for (std::size_t e = 0; e < experts; ++e) {
      const double own = std::exp(static_cast<double>(b.logits[t * experts + e])) / sum;
      const auto q = static_cast<double>(b.prior[static_cast<std::size_t>(b.samples[t]) * experts + e]);
      EXPECT_NEAR(static_cast<double>(g[t * experts + e]), 32 * omega * own + 4 * (1 - omega) * q, 1e-5);
    }
  }
}

// theta = 0 and W_r = 0: one half of the token, .5 for every expert, and 2 q of the sample.
TEST(Catalogue, Mor1eStartsWithHalfOfEachPart) {
  batch b;
  b.logits.assign(b.logits.size(), 0.0F);
  const mor1e model;
  EXPECT_EQ(model.omega(), 0.5F);
  EXPECT_EQ(model.scale(), 0.5F);
  EXPECT_EQ(gate(b.logits, values(b.prior.size(), 0.0F), b.samples, model), values(tokens * experts, 0.5F));
  const values g = gate(b.logits, b.prior, b.samples, model);
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t e = 0; e < experts; ++e)
      EXPECT_FLOAT_EQ(g[t * experts + e], 0.5F + 2 * b.prior[static_cast<std::size_t>(b.samples[t]) * experts + e]);
}

TEST(Catalogue, Mor1eTokenPartAddsUpTo32Omega) {
  batch b;
  for (float theta : {-0.02F, 0.0F, 0.011F}) {
    mor1e model;
    model.theta_gate = theta;
    const values g = gate(b.logits, values(b.prior.size(), 0.0F), b.samples, model);
    for (std::size_t t = 0; t < tokens; ++t) {
      double sum = 0;
      for (std::size_t e = 0; e < experts; ++e) sum += static_cast<double>(g[t * experts + e]);
      EXPECT_NEAR(sum, 32 / (1 + std::exp(-100 * static_cast<double>(theta))), 1e-4);
    }
  }
}

TEST(Catalogue, Mor1eWithOmegaOneIsTheTokenAlone) {
  batch b;
  mor1e model;
  model.theta_gate = 1;
  EXPECT_EQ(model.omega(), 1.0F);
  EXPECT_EQ(gate(b.logits, b.prior, b.samples, model), gate(b.logits, values(b.prior.size(), 0.0F), b.samples, model));
  model.theta_gate = -1;  // and with omega = 0 its sample alone
  const values g = gate(b.logits, b.prior, b.samples, model);
  for (std::size_t t = 0; t < tokens; ++t)
    for (std::size_t e = 0; e < experts; ++e)
      EXPECT_NEAR(g[t * experts + e], 4 * b.prior[static_cast<std::size_t>(b.samples[t]) * experts + e], 1e-5F);
}

//! y += factor * M x for M [rows, x.size()].
void add_product(const values& matrix, const std::vector<double>& x, double factor, std::vector<double>& y) {
  for (std::size_t i = 0; i < y.size(); ++i)
    for (std::size_t j = 0; j < x.size(); ++j) y[i] += factor * static_cast<double>(matrix[i * x.size() + j]) * x[j];
}

// Rank-1 experts are columns of B times rows of A; the flexible mode's expert (i, j) is b_j a_i^T, gated by G(i, j).
TEST(Catalogue, Mor1eFlexibleModeWithADiagonalGateIsRankOne) {
  batch b;
  const values g = gate(b.logits, b.prior, b.samples, {});
  const values a = support::normal_values(b.random, experts * in);
  const values up = support::normal_values(b.random, out_size * experts);
  for (std::size_t t = 0; t < tokens; ++t) {
    std::vector<double> x(in), by_experts(out_size, 0.0), down(experts, 0.0);
    for (double& value : x) value = b.random.normal();
    for (std::size_t e = 0; e < experts; ++e)  // the sum over experts, one b_e (a_e . x) each
      for (std::size_t i = 0; i < out_size; ++i)
        for (std::size_t j = 0; j < in; ++j)
          by_experts[i] += 0.5 * static_cast<double>(g[t * experts + e]) * static_cast<double>(up[i * experts + e]) *
                           static_cast<double>(a[e * in + j]) * x[j];
    add_product(a, x, 1, down);
    std::vector<double> gated(experts, 0.0), flexible(experts, 0.0);
    for (std::size_t e = 0; e < experts; ++e) gated[e] = down[e] * static_cast<double>(g[t * experts + e]);
    for (std::size_t i = 0; i < experts; ++i)
      for (std::size_t j = 0; j < experts; ++j)
        flexible[j] += (i == j ? static_cast<double>(g[t * experts + i]) : 0.0) * down[i];
    std::vector<double> rank_one(out_size, 0.0), flex(out_size, 0.0);
    add_product(up, gated, static_cast<double>(mor1e{}.scale()), rank_one);
    add_product(up, flexible, static_cast<double>(mor1e{}.scale()), flex);
    for (std::size_t i = 0; i < out_size; ++i) {
      EXPECT_NEAR(rank_one[i], by_experts[i], 1e-9);
      EXPECT_EQ(flex[i], rank_one[i]);
    }
  }
}

}  // namespace

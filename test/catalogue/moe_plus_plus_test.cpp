// SPDX-License-Identifier: Apache-2.0
// MoE++: whole layers on the host, beside the paper's formulas in double precision, and the paper's figures.
#include "resonance/catalogue/moe_plus_plus.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "catalogue/moe_plus_plus_layer.hpp"
#include "resonance/affinity/host_affinity.hpp"
#include "resonance/permute/host_permute.hpp"
#include "resonance/permute/host_unpermute.hpp"
#include "resonance/route/host_route.hpp"

namespace {

using namespace resonance;
using catalogue::moe_plus_plus_experts;
using catalogue_test::layer_input;
using catalogue_test::layer_result;
using catalogue_test::layer_shape;

struct host_stages {
  template <class Metric, class Input>
  void affinity(const Metric& metric, const Input& input, matrix_view<float> out) const {
    support::exact_workspace workspace(affinity::host_affinity_workspace_bytes(serial_executor{}, metric, input));
    EXPECT_TRUE(support::accepted(affinity::host_affinity(serial_executor{}, metric, input, out, workspace.view())));
  }
  template <class Input, class Options>
  void route(const Input& input, const Options& o, const route::outputs<>& out) const {
    support::exact_workspace workspace(route::host_route_workspace_bytes(serial_executor{}, input, o));
    EXPECT_TRUE(support::accepted(route::host_route(serial_executor{}, input, o, out, workspace.view())));
  }
  void permute(matrix_view<const float> x, const permute::row_plan<>& plan, matrix_view<float> permuted) const {
    EXPECT_TRUE(support::accepted(permute::host_permute(serial_executor{}, x, plan, permuted)));
  }
  void unpermute(matrix_view<const float> permuted, const permute::row_plan<>& plan,
                 const permute::in_place_experts<float>& experts, matrix_view<float> y) const {
    EXPECT_TRUE(support::accepted(permute::host_unpermute(serial_executor{}, permuted, plan, experts, y)));
  }
};

const std::vector<moe_plus_plus_experts> papers_layers = {{8, 2, 1, 1}, {16, 2, 1, 1}, {32, 6, 1, 1}};

std::vector<std::int32_t> map_of(const moe_plus_plus_experts& experts) {
  std::vector<std::int32_t> map(static_cast<std::size_t>(experts.all()));
  experts.fill_expert_map(map.data());
  return map;
}

//! The next layer's input: its own parameters, the residual stream, and the logits of the layer before.
layer_input next_layer(support::random_source& random, const layer_input& in, const layer_result& out) {
  layer_input next(random, in.shape);
  for (std::size_t i = 0; i < next.x.size(); ++i) next.x[i] = in.x[i] + out.y[i] / 4.0F;
  next.previous = out.logits;
  return next;
}

TEST(Catalogue, MoePlusPlusRunsItsLayers) {
  support::random_source random(451);
  for (const moe_plus_plus_experts& experts : papers_layers) {
    for (const double tau : {0.1, 0.75, 1.0}) {
      for (const bool counts_k : {false, true}) {
        SCOPED_TRACE(::testing::Message() << experts.ffn << " FFN, tau " << tau << " counts_k " << counts_k);
        layer_input in(random, {experts, 201, 24});
        const std::vector<std::int32_t> map = map_of(experts);
        auto o = catalogue::moe_plus_plus(experts, map.data(), tau);
        o.capacity.counts_k = counts_k;
        const auto capacity = [&](std::size_t e) {
          const double eta = e < static_cast<std::size_t>(experts.ffn) ? tau : 1.0;
          const double weighted = std::fma(tau, experts.ffn, experts.all() - experts.ffn);
          return static_cast<std::int64_t>(std::ceil(1.1 * eta * 201 * (counts_k ? 2 : 1) / weighted));
        };
        for (int layer = 0; layer < 3; ++layer) {
          const layer_result out = catalogue_test::run_layer(host_stages{}, in, o);
          catalogue_test::expect_layer(out, catalogue_test::expected_of(in, false, capacity));
          in = next_layer(random, in, out);
        }
      }
    }
  }
}

TEST(Catalogue, MoePlusPlusRunsTheReleasedLayers) {
  support::random_source random(452);
  for (const moe_plus_plus_experts& experts : papers_layers) {
    SCOPED_TRACE(experts.ffn);
    layer_input in(random, {experts, 201, 24});
    const std::vector<std::int32_t> map = map_of(experts);
    std::vector<std::int64_t> capacities(map.size());
    experts.fill_released_capacities(capacities.data());
    const auto o = catalogue::moe_plus_plus_released(experts, map.data(), capacities.data());
    int zero_picked = 0;
    for (int layer = 0; layer < 3; ++layer) {
      const layer_result out = catalogue_test::run_layer(host_stages{}, in, o);
      catalogue_test::expect_layer(out, catalogue_test::expected_of(in, true, [](std::size_t) { return 0; }));
      // Beside a zero expert the other one has weight 1.
      for (std::size_t slot = 0; slot < out.chosen.size(); ++slot) {
        if (out.chosen[slot] != experts.all() - 1) continue;
        EXPECT_EQ(out.kept[slot], -1);
        EXPECT_EQ(out.weights[slot], 0.0F);
        EXPECT_EQ(out.weights[slot ^ 1U], 1.0F);
        ++zero_picked;
      }
      in = next_layer(random, in, out);
    }
    EXPECT_GT(zero_picked, 0);
  }
}

// The share of the work that is left for FFN experts once every expert is full: the paper's complexity ratio.
TEST(Catalogue, MoePlusPlusDispatchesThePapersShare) {
  struct figure {
    moe_plus_plus_experts experts;
    double tau, share;
  };
  support::random_source random(453);
  for (const figure& f : {figure{{8, 2, 1, 1}, 0.75, 0.6},
                          {{8, 2, 1, 1}, 0.1, 0.167},
                          {{8, 2, 1, 1}, 1.0, 0.667},
                          {{16, 2, 1, 1}, 0.75, 0.75},
                          {{32, 6, 1, 1}, 0.75, 0.75}}) {
    SCOPED_TRACE(::testing::Message() << f.experts.ffn << " FFN, tau " << f.tau);
    const layer_input in(random, {f.experts, 8192, 16});
    const layer_result out = catalogue_test::run_layer(
        host_stages{}, in, catalogue::moe_plus_plus(f.experts, in.expert_map.data(), f.tau, 0.3));
    std::int64_t kept = 0;
    for (const std::int32_t id : out.kept) kept += id >= 0 ? 1 : 0;
    EXPECT_NEAR(static_cast<double>(kept) / 8192, 0.3, 0.01);  // gamma T in all
    EXPECT_NEAR(static_cast<double>(out.dispatched) / static_cast<double>(kept), f.share, 5e-3);
  }
}

TEST(Catalogue, MoePlusPlusNumbersItsExpertsAsTheReleasedCode) {
  EXPECT_EQ(map_of({}), (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 6, 7, permute::in_place::constant(0),
                                                   permute::in_place::constant(1), permute::in_place::copy,
                                                   permute::in_place::zero}));
  EXPECT_EQ((moe_plus_plus_experts{32, 6, 1, 1}.all()), 40);
}

}  // namespace

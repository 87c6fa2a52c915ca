// SPDX-License-Identifier: Apache-2.0
// MoE++: whole layers on the device, beside the paper's formulas in double precision.
#include "resonance/catalogue/moe_plus_plus.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include <simt/environment.hpp>

#include "catalogue/moe_plus_plus_layer.hpp"
#include "resonance/affinity/device_affinity.cuh"
#include "resonance/permute/device_permute.cuh"
#include "resonance/permute/device_unpermute.cuh"
#include "resonance/route/device_route.cuh"

namespace {

using namespace resonance;
using catalogue::moe_plus_plus_experts;
using catalogue_test::layer_input;
using catalogue_test::layer_result;

struct device_stages {
  template <class Metric, class Input>
  void affinity(const Metric& metric, const Input& input, matrix_view<float> out) const {
    support::exact_workspace workspace(affinity::device_affinity_workspace_bytes(metric, input));
    EXPECT_TRUE(support::accepted(affinity::device_affinity({}, metric, input, out, workspace.view())));
  }
  template <class Input, class Options>
  void route(const Input& input, const Options& o, const route::outputs<>& out) const {
    support::exact_workspace workspace(on_device({}).route_workspace_bytes(input, o));
    EXPECT_TRUE(support::accepted(on_device({}).route(input, o, out, workspace.view())));
  }
  void permute(matrix_view<const float> x, const permute::row_plan<>& plan, matrix_view<float> permuted) const {
    EXPECT_TRUE(support::accepted(permute::device_permute({}, x, plan, permuted)));
  }
  void unpermute(matrix_view<const float> permuted, const permute::row_plan<>& plan,
                 const permute::in_place_experts<float>& experts, matrix_view<float> y) const {
    EXPECT_TRUE(support::accepted(permute::device_unpermute({}, permuted, plan, experts, y)));
  }
};

// More tokens than one block routes, and fewer.
TEST(DeviceCatalogue, MoePlusPlusRunsItsLayers) {
  support::random_source random(461);
  const moe_plus_plus_experts experts{8, 2, 1, 1};
  for (const std::int64_t tokens : {65, 301}) {
    SCOPED_TRACE(tokens);
    layer_input in(random, {experts, tokens, 24});
    const auto o = catalogue::moe_plus_plus(experts, in.expert_map.data());
    const auto capacity = [&](std::size_t e) {
      return static_cast<std::int64_t>(std::ceil(1.1 * (e < 8 ? 0.75 : 1.0) * static_cast<double>(tokens) / 10.0));
    };
    for (int layer = 0; layer < 2; ++layer) {
      const layer_result out = catalogue_test::run_layer(device_stages{}, in, o);
      catalogue_test::expect_layer(out, catalogue_test::expected_of(in, false, capacity));
      in.previous = out.logits;
    }
  }
}

TEST(DeviceCatalogue, MoePlusPlusRunsTheReleasedLayers) {
  support::random_source random(462);
  const moe_plus_plus_experts experts{8, 2, 1, 1};
  for (const std::int64_t tokens : {65, 301}) {
    SCOPED_TRACE(tokens);
    layer_input in(random, {experts, tokens, 24});
    std::vector<std::int64_t> capacities(in.expert_map.size());
    experts.fill_released_capacities(capacities.data());
    const auto o = catalogue::moe_plus_plus_released(experts, in.expert_map.data(), capacities.data());
    for (int layer = 0; layer < 2; ++layer) {
      const layer_result out = catalogue_test::run_layer(device_stages{}, in, o);
      catalogue_test::expect_layer(out, catalogue_test::expected_of(in, true, [](std::size_t) { return 0; }));
      in.previous = out.logits;
    }
  }
}

}  // namespace

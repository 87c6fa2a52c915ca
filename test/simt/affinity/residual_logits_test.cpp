// SPDX-License-Identifier: Apache-2.0
// Gating residuals on the device: the host's bits, as a matrix, in a token choice and in a whole route.
#include <resonance/affinity/warp_residual_logits.cuh>

#include <gtest/gtest.h>

#include <cstdint>
#include <resonance/affinity/device_affinity.cuh>
#include <resonance/route/device_route.cuh>
#include <resonance/route/host_route.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/device_token_choice.cuh>
#include <simt/environment.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "affinity/residual_fixture.hpp"
#include "affinity/typed_rows.hpp"

namespace {

using namespace resonance;
using affinity_test::residual_case;

template <class Row>
void expect_exact(const residual_case<Row>& c) {
  const auto input = c.input();
  support::guarded_buffer<float> out(c.tokens * c.experts);
  support::exact_workspace workspace(affinity::device_affinity_workspace_bytes(affinity::logits{}, input));
  ASSERT_TRUE(support::accepted(affinity::device_affinity(
      device_stream{}, affinity::logits{}, input,
      {out.data(), static_cast<std::int64_t>(c.tokens), static_cast<std::int64_t>(c.experts)}, workspace.view())));
  EXPECT_TRUE(out.intact() && workspace.intact());
  const std::vector<float> deltas = support::values_of(out);
  EXPECT_TRUE(typed_rows::same_bits(deltas, c.exact()));
  affinity_test::expect_near(deltas, c.expected(), c.expected(true));
}

template <class Row>
class DeviceResidualLogits : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceResidualLogits, typed_rows::all, typed_rows::names);

TYPED_TEST(DeviceResidualLogits, HaveTheHostsBits) {
  support::random_source random(441);
  const std::vector<std::pair<std::size_t, std::size_t>> shapes = {{0, 8},  {1, 1},   {7, 12},   {33, 20},
                                                                   {9, 40}, {257, 7}, {17, 130}, {3, 1100}};
  for (const auto& [tokens, experts] : shapes) {
    SCOPED_TRACE(::testing::Message() << tokens << " x " << experts);
    expect_exact(residual_case<TypeParam>(random, tokens, experts));
  }
}

TYPED_TEST(DeviceResidualLogits, DoNotDependOnTheSchedule) {
  support::random_source random(442);
  const residual_case<TypeParam> c(random, 33, 13);
  simt::under_every_schedule([&] { expect_exact(c); });
}

using router = resonance::router<affinity::logits, token_choice::top_k, merge::restricted, prune::heterogeneous_factor>;

// What a backend's route leaves: chosen and kept ids and weights, the full logits, and the plan's row numbers.
template <class Backend, class Input>
auto routed_on(const Backend& backend, const Input& input, std::int64_t tokens, std::int32_t experts) {
  router::options options;
  options.choice.top_k = 2;
  options.capacity = prune::heterogeneous_factor{1.1, 0.75, experts - 4, true};
  const auto slots = static_cast<std::size_t>(2 * tokens);
  std::vector<std::int32_t> ids(slots), kept(slots), inverse(slots), sorted(slots);
  std::vector<std::int32_t> offsets(static_cast<std::size_t>(experts) + 1);
  std::vector<float> weights(slots), kept_weights(slots), full(static_cast<std::size_t>(tokens * experts));
  std::int64_t num_rows[2];
  route::outputs<> out;
  out.choice = {ids.data(), weights.data(), nullptr};
  out.affinity = {full.data(), tokens, experts};
  out.prune.ids = kept.data();
  out.prune.weights = kept_weights.data();
  out.plan = {nullptr, offsets.data(), sorted.data(), inverse.data(), nullptr, num_rows};
  support::exact_workspace workspace(router::workspace_bytes(backend, input, options));
  EXPECT_TRUE(support::accepted(router::run(backend, input, options, out, workspace.view())));
  return std::make_tuple(ids, weights, kept, kept_weights, full, inverse, offsets);
}

TEST(DeviceResidualLogitsOfLayers, AreRoutedAsOnTheHost) {
  support::random_source random(443);
  for (const std::int64_t tokens : {65, 400}) {
    const residual_case<float> c(random, static_cast<std::size_t>(tokens), 12);
    EXPECT_EQ(routed_on(on_device({}), c.input(), tokens, 12),
              routed_on(on_host(serial_executor{}), c.input(), tokens, 12));
  }
}

TEST(DeviceResidualLogitsOfLayers, RefuseBadArguments) {
  affinity_test::expect_residual_refusals([](const auto& input, matrix_view<float> out) {
    return affinity::device_affinity(device_stream{}, affinity::logits{}, input, out, {});
  });
}

}  // namespace

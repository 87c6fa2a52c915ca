// SPDX-License-Identifier: Apache-2.0
// Runs a router on the host and on the device and demands the same bits in every output, and few launches.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <resonance/route/device_route.cuh>
#include <resonance/route/router.hpp>
#include <route/fixture.hpp>
#include <simt/environment.hpp>
#include <support/assignments.hpp>

namespace route_case {

using namespace resonance;

enum class asked { everything, plan_alone };

//! `live`: tokens given in device memory; negative: none given. Returns the launches.
template <class Router, class Input>
std::size_t expect_the_hosts_bits(const Input& input, const Input& live_input, const typename Router::options& o,
                                  const support::batch_shape& shape, asked what, std::int64_t live) {
  using support::exact_workspace;
  support::batch_shape live_shape = shape;
  if (live >= 0) live_shape.tokens = live;
  const serial_executor serial;
  const auto host_slots = route::host_route_slots(live_input, o);
  const auto slots = route::device_route_slots(input, o);
  route_test::route_arrays<std::int32_t> host(live_shape, host_slots, o.plan);
  route_test::route_arrays<std::int32_t> device(shape, slots, o.plan);
  const auto view = [&](auto& arrays) {
    auto out = arrays.view();
    if (what == asked::everything) return out;
    route::outputs<> plan_alone;
    plan_alone.plan = out.plan;
    return plan_alone;
  };
  exact_workspace host_space(Router::workspace_bytes(on_host(serial), live_input, o));
  EXPECT_TRUE(support::accepted(Router::run(on_host(serial), live_input, o, view(host), host_space.view())));

  device_stream on;
  on.num_tokens = live < 0 ? nullptr : &live;
  exact_workspace space(Router::workspace_bytes(on_device(on), input, o));
  simt::config().count_traffic = true;
  simt::reset_traffic();
  EXPECT_TRUE(support::accepted(Router::run(on_device(on), input, o, view(device), space.view())));
  const std::size_t launches = simt::traffic().launches.size();
  simt::config().count_traffic = false;
  EXPECT_TRUE(space.intact());

  std::vector<std::string> host_bits;
  std::vector<std::string> names;
  host.each([&](const char* name, const auto& array) {
    names.push_back(name);
    host_bits.emplace_back(reinterpret_cast<const char*>(array.data()), array.size_bytes());
  });
  std::size_t i = 0;
  device.each([&](const char* name, const auto& array) {
    EXPECT_TRUE(array.intact()) << name;
    const std::string& expected = host_bits[i++];
    const std::size_t bytes = std::min(expected.size(), array.size_bytes());
    EXPECT_EQ(std::memcmp(expected.data(), array.data(), bytes), 0) << name;
    if (live >= 0 && bytes < array.size_bytes()) {
      const std::size_t first = bytes / sizeof(*array.data());
      EXPECT_TRUE(array.untouched(first, array.size() - first)) << name << " past the tokens that there are";
    }
  });
  return launches;
}

struct expected_launches {
  std::size_t small;  // T <= 256
  std::size_t large;
};

//! Batches around the borders of tiles and blocks, with few launches each. `configure(options, shape)` sets the
//! options.
template <class Router, class Metric, class Row = float, class Configure>
void expect_every_batch(std::uint64_t seed, asked what, const expected_launches& most, const Configure& configure) {
  support::random_source random(seed);
  const support::batch_shape shapes[] = {{0, 8, 2},   {1, 7, 1},    {33, 16, 4},   {64, 8, 2},   {70, 130, 8},
                                         {256, 8, 2}, {257, 13, 3}, {400, 40, 10}, {520, 300, 4}};
  for (const support::batch_shape& shape : shapes) {
    const route_test::batch_input<Row> batch(random, {shape, 320});
    const auto input = batch.template of<Metric>();
    typename Router::options o;
    o.choice.top_k = shape.top_k;
    configure(o, shape);
    SCOPED_TRACE(::testing::Message() << shape);
    const std::size_t launches = expect_the_hosts_bits<Router>(input, input, o, shape, what, -1);
    EXPECT_LE(launches, shape.tokens <= 256 ? most.small : most.large);
  }
}

}  // namespace route_case

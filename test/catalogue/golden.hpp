// SPDX-License-Identifier: Apache-2.0
// What the routers of the transformers package chose (make_golden.py), and the same input through a composition here.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <resonance/resonance.hpp>
#include <string>
#include <vector>

#include "route/fixture.hpp"
#include "support/npy.hpp"

namespace catalogue_test {

using namespace resonance;

//! One recorded router: logits [T,E], bias [E] or none, ids and weights [T,K] with the heaviest first.
struct golden {
  explicit golden(const std::string& router) : name(router) {
    const npy::array recorded = load("logits", npy::dtype::float32);
    tokens = static_cast<std::int64_t>(recorded.shape().at(0));
    experts = static_cast<std::int32_t>(recorded.shape().at(1));
    logits = recorded.values<float>();
    ids = load("ids", npy::dtype::int32).values<std::int32_t>();
    const npy::array weighed = load("weights", npy::dtype::float32);
    weights = weighed.values<float>();
    top_k = static_cast<std::int32_t>(weighed.shape().at(1));
    const npy::result<npy::array> biases = npy::load(path("bias"), {});
    if (biases) bias = biases.value.values<float>();
  }

  affinity::logits_input<> input() const { return {{logits.data(), tokens, experts, experts}}; }

  std::string name;
  std::int64_t tokens = 0;
  std::int32_t experts = 0, top_k = 0;
  std::vector<float> logits, bias, weights;
  std::vector<std::int32_t> ids;

 private:
  std::string path(const std::string& what) const {
    return std::string(RESONANCE_GOLDEN_DIR) + "/" + name + "." + what + ".npy";
  }
  npy::array load(const std::string& what, npy::dtype type) const {
    npy::expect wanted;
    wanted.types = {type};
    npy::result<npy::array> read = npy::load(path(what), wanted);
    EXPECT_TRUE(static_cast<bool>(read)) << read.error;
    return read.value;
  }
};

//! Kept ids and weights of a route, as it numbers its slots.
struct routed {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

template <class Input, class Options>
routed route_of(const Input& input, const Options& o, const golden& g) {
  const serial_executor executor;
  const std::size_t slots = static_cast<std::size_t>(g.tokens) * static_cast<std::size_t>(o.choice.top_k);
  routed r{std::vector<std::int32_t>(slots, -7), std::vector<float>(slots, -7.0F)};
  route::outputs<> out;
  out.prune.ids = r.ids.data();
  out.prune.weights = r.weights.data();
  support::exact_workspace workspace(route::host_route_workspace_bytes(executor, input, o));
  EXPECT_TRUE(support::accepted(route::host_route(executor, input, o, out, workspace.view())));
  return r;
}

//! Ids exactly, weights to 1e-6 relative. Both sides list a token's experts by falling weight: `r`'s slots are put in
//! that order, since selection by score + bias has another.
inline void expect_golden(const golden& g, const routed& r) {
  ASSERT_EQ(r.ids.size(), g.ids.size()) << g.name;
  const auto top_k = static_cast<std::size_t>(g.top_k);
  for (std::size_t first = 0; first < r.ids.size(); first += top_k) {
    std::vector<std::size_t> slots(top_k);
    for (std::size_t k = 0; k < top_k; ++k) slots[k] = first + k;
    std::stable_sort(slots.begin(), slots.end(),
                     [&](std::size_t a, std::size_t b) { return r.weights[a] > r.weights[b]; });
    for (std::size_t k = 0; k < top_k; ++k) {
      EXPECT_EQ(r.ids[slots[k]], g.ids[first + k]) << g.name << " token " << first / top_k << " place " << k;
      EXPECT_NEAR(r.weights[slots[k]], g.weights[first + k], 1e-6 * std::abs(g.weights[first + k]))
          << g.name << " token " << first / top_k << " place " << k;
    }
  }
}

template <class Options>
void expect_router(const golden& g, const Options& o) {
  EXPECT_EQ(o.choice.top_k, g.top_k) << g.name;
  expect_golden(g, route_of(g.input(), o, g));
}

}  // namespace catalogue_test

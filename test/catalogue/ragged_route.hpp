// SPDX-License-Identifier: Apache-2.0
// Routes whose tokens may have any number of experts.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "resonance/route/host_route.hpp"
#include "route/fixture.hpp"

namespace catalogue_test {

//! Ids and weights of a route by expert choice: those of token t are [offsets[t], offsets[t + 1]).
struct ragged_route {
  std::vector<std::int32_t> ids, ranks, tokens;
  std::vector<float> weights, affinity;
  std::vector<std::int64_t> offsets;

  template <class Input, class Options>
  ragged_route(const Input& input, const Options& o) {
    using namespace resonance;
    const serial_executor executor;
    const std::int64_t slots = route::host_route_slots(input, o);
    const auto size = static_cast<std::size_t>(slots);
    ids = ranks = tokens = std::vector<std::int32_t>(size);
    weights = affinity = std::vector<float>(size);
    offsets.resize(static_cast<std::size_t>(input.logits.rows) + 1);
    route::outputs<> out;
    out.merged.ids = ids.data();
    out.merged.weights = weights.data();
    out.merged.affinity = affinity.data();
    out.merged.rank_in_expert = ranks.data();
    out.merged.token_offsets = offsets.data();
    out.merged.token_of_slot = tokens.data();
    out.merged.capacity = slots;
    support::exact_workspace workspace(route::host_route_workspace_bytes(executor, input, o));
    EXPECT_TRUE(support::accepted(route::host_route(executor, input, o, out, workspace.view())));
  }

  //! The tokens of an expert, rising.
  std::vector<std::int64_t> tokens_of(std::int32_t expert) const {
    std::vector<std::int64_t> found;
    for (std::size_t t = 0; t + 1 < offsets.size(); ++t)
      for (std::int64_t i = offsets[t]; i < offsets[t + 1]; ++i)
        if (ids[static_cast<std::size_t>(i)] == expert) found.push_back(static_cast<std::int64_t>(t));
    return found;
  }
};

}  // namespace catalogue_test

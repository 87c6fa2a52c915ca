// SPDX-License-Identifier: Apache-2.0
// One run of pruning on the device, in exactly the answered workspace.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <resonance/prune/device_prune.cuh>
#include <simt/environment.hpp>

#include "prune/fixture.hpp"
#include "support/assignments.hpp"

namespace prune_case {

using namespace resonance;

template <class Rule, class Order>
void prune_on_device(const Rule& rule, const Order& order, const assignment_view& a, const prune::options& o,
                     const prune::outputs& out, const std::int64_t* num_tokens = nullptr) {
  device_stream on;
  on.num_tokens = num_tokens;
  support::exact_workspace workspace(prune::device_prune_workspace_bytes<Rule, Order>(a));
  ASSERT_TRUE(support::accepted(prune::device_prune(on, rule, order, a, o, out, workspace.view())));
  EXPECT_TRUE(workspace.intact());
}

}  // namespace prune_case

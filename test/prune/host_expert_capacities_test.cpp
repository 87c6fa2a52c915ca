// SPDX-License-Identifier: Apache-2.0
#include "resonance/prune/host_expert_capacities.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "prune/expert_capacities_reference.hpp"
#include "support/assignments.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using support::exact_workspace;
using support::guarded_buffer;

template <class Rule>
std::vector<std::int64_t> capacities_everywhere(const Rule& rule, matrix_view<const float> affinity,
                                                const prune::batch_facts& batch, std::int64_t cap) {
  std::vector<std::int64_t> first;
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    guarded_buffer<std::int64_t> capacities(static_cast<std::size_t>(batch.experts));
    exact_workspace workspace(prune::host_expert_capacities_workspace_bytes<Rule>(executor, batch.tokens));
    EXPECT_TRUE(support::accepted(
        prune::host_expert_capacities(executor, rule, affinity, batch, cap, capacities.data(), workspace.view())));
    EXPECT_TRUE(capacities.intact() && workspace.intact());
    if (first.empty()) first = support::values_of(capacities);
    EXPECT_EQ(support::values_of(capacities), first) << name;
  });
  return first;
}

TEST(HostExpertCapacities, AgreesWithTheReference) {
  support::random_source random(61);
  for (const support::batch_shape& s : support::batch_shapes(8000)) {
    if (s.top_k != 2 && s.top_k != s.experts) continue;
    prune_test::expect_reference_capacities(
        random, s, [](const auto&... arguments) { return capacities_everywhere(arguments...); });
  }
}

class RefusedExpertCapacities : public ::testing::Test {
 protected:
  RefusedExpertCapacities() : random(62), c(random, {33, 6, 2}), affinity(c.deltas()), out(6), capacities(out.data()) {
    batch.tokens = 33;
    batch.experts = 6;
    batch.top_k = 2;
  }

  template <class Rule>
  void expect(const Rule& rule, status_code code, const std::string& argument) {
    exact_workspace workspace(1 << 12);
    EXPECT_TRUE(support::refused(
        prune::host_expert_capacities(serial_executor{}, rule, affinity, batch, cap, capacities, workspace.view()),
        code, argument));
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  support::random_source random;
  support::random_choices c;
  matrix_view<const float> affinity;
  prune::batch_facts batch;
  std::int64_t cap = -1;
  guarded_buffer<std::int64_t> out;
  std::int64_t* capacities;
};

TEST_F(RefusedExpertCapacities, BadArguments) {
  affinity.data = nullptr;
  expect(prune::unlimited{}, status_code::null_pointer, "affinity");
  affinity = c.deltas();
  affinity.rows = 32;
  expect(prune::unlimited{}, status_code::shape_mismatch, "affinity");
  affinity = c.deltas();
  affinity.cols = 5;
  expect(prune::unlimited{}, status_code::shape_mismatch, "affinity");
  affinity = c.deltas();
  cap = -2;
  expect(prune::unlimited{}, status_code::out_of_range, "capacity_cap");
  cap = -1;
  expect(prune::fixed{-1}, status_code::out_of_range, "fixed");
  expect(prune::affinity_mass{std::nan("")}, status_code::out_of_range, "rho");
  expect(prune::lower_bound{}, status_code::out_of_range, "hidden");
  capacities = nullptr;
  expect(prune::unlimited{}, status_code::null_pointer, "capacities");
}

TEST_F(RefusedExpertCapacities, SmallWorkspace) {
  const prune::affinity_mass rule{0.5};
  const std::size_t bytes = prune::host_expert_capacities_workspace_bytes<prune::affinity_mass>(serial_executor{}, 33);
  exact_workspace small(bytes - 1);
  for (workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
    EXPECT_TRUE(support::refused(
        prune::host_expert_capacities(serial_executor{}, rule, affinity, batch, cap, capacities, workspace),
        status_code::workspace_too_small, "workspace"));
  }
  EXPECT_TRUE(out.untouched() && small.untouched());
  EXPECT_TRUE(support::accepted(
      prune::host_expert_capacities(serial_executor{}, prune::unlimited{}, affinity, batch, cap, capacities, {})));
}

}  // namespace

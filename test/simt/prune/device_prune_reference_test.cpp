// SPDX-License-Identifier: Apache-2.0
// Pruning on the device against the reference: ids, counts and capacities exactly, masses and weights to rounding.
#include "prune_case.hpp"

namespace {

using namespace resonance;
using prune_test::merged_batch;
using reference::capacity_rule;
using reference::drop_order;

//! Every order once, each with a rule that drops some.
void expect_reference(const merged_batch& batch, int variant) {
  const auto run = [](const auto& rule, const auto& order, const assignment_view& a, const prune::options& o) {
    prune_test::pruned_arrays out(static_cast<std::size_t>(a.slots()), static_cast<std::size_t>(a.experts));
    prune_case::prune_on_device(rule, order, a, o, out.view());
    EXPECT_TRUE(out.intact());
    return out;
  };
  reference::prune_options meaning;
  meaning.rule = capacity_rule::fixed;
  meaning.fixed = 2;
  prune_test::expect_reference(run, batch, prune::fixed{2}, prune::position{}, meaning, drop_order::position, variant);
  prune_test::expect_reference(run, batch, prune::fixed{2}, prune::slot_major{}, meaning, drop_order::slot_major,
                               variant);
  prune_test::expect_reference(run, batch, prune::fixed{2}, prune::slot_major_prioritized{}, meaning,
                               drop_order::slot_major_prioritized, variant);
  meaning = {};
  meaning.rule = capacity_rule::affinity_mass;
  meaning.rho = 0.6;
  prune_test::expect_reference(run, batch, prune::affinity_mass{0.6}, prune::affinity_order{}, meaning,
                               drop_order::affinity, variant);
  meaning = {};
  meaning.rule = capacity_rule::lower_bound;
  meaning.hidden = 64;
  meaning.capacity_factor = 0.9;
  prune_test::expect_reference(run, batch, prune::lower_bound{false, 0.0, 1, 0.9}, prune::batch_prioritized{}, meaning,
                               drop_order::batch_prioritized, variant);
}

TEST(DevicePruneReference, AgreesOnManyShapes) {
  support::random_source random(71);
  for (const support::batch_shape& s :
       {support::batch_shape{0, 13, 2}, {1, 1, 1}, {33, 13, 8}, {257, 13, 2}, {257, 72, 8}, {33, 257, 2}}) {
    const int step = s.experts > 13 ? 7 : 1;  // many blocks: none of the options, and all of them
    for (int variant = 0; variant < 8; variant += step) {
      SCOPED_TRACE(::testing::Message() << s);
      expect_reference(merged_batch(random, s), variant);
    }
  }
}

TEST(DevicePruneReference, AgreesOnEveryKindOfAffinity) {
  support::random_source random(72);
  for (const support::adversary kind : support::all_adversaries()) {
    SCOPED_TRACE(support::name_of(kind));
    const merged_batch batch(random, {33, 6, 6}, {kind, 0.1, true});
    for (const int variant : {0, 7}) expect_reference(batch, variant);
  }
}

}  // namespace

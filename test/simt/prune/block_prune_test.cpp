// SPDX-License-Identifier: Apache-2.0
// The bodies of pruning in a kernel of one's own: by warps and by blocks of any size, one expert after the other.
#include "resonance/prune/block_prune.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <simt/environment.hpp>
#include <utility>
#include <vector>

#include "prune/fixture.hpp"
#include "resonance/prune/host_prune.hpp"
#include "support/assignments.hpp"

namespace {

using namespace resonance;
using prune_test::merged_batch;
using prune_test::pruned_arrays;

// What a fused kernel does: one block takes one expert after the other, by warps or as a whole.
template <class Rule, class Order, bool ByWarp>
__global__ void prune_in_one_block(Rule rule, assignment_view a, prune::batch_facts batch, detail::member_lists lists,
                                   prune::outputs out, float* token_best, std::uint32_t* rank_spill,
                                   std::uint64_t* key_spill) {
  constexpr int words = 128;
  RESONANCE_SHARED_ARRAY(std::uint64_t, team_scratch, block_team::scratch_words);
  RESONANCE_SHARED_ARRAY(std::uint64_t, shared, words * 8);
  const block_team block(team_scratch);
  const std::uint64_t best = prune::best_affinities(block, a, 0, static_cast<std::uint32_t>(a.tokens), token_best);
  block.sync();
  batch.delta_max = prune::best_affinity(best);
  const auto prune_with = [&](const auto& team, std::int32_t first, std::int32_t step, std::uint64_t* own) {
    for (std::int32_t e = first; e < a.experts; e += step) {
      const detail::expert_members members = lists.of(e);
      const prune::expert_scratch scratch{own, words, rank_spill + members.first, key_spill + 2 * members.first};
      prune::prune_expert<Order>(team, rule, batch, -1, e, members, a, token_best, out, scratch);
    }
  };
  if constexpr (ByWarp) {
    prune_with(warp_team{}, warp_id(), block_threads() / warp_size, shared + warp_id() * words);
  } else {
    prune_with(block, 0, 1, shared);
  }
}

// Every expert's slots, and where they begin.
std::pair<std::vector<std::int64_t>, std::vector<std::uint32_t>> lists_of(const assignment_view& a) {
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::uint32_t> slots;
  for (std::int32_t e = 0; e < a.experts; ++e) {
    for (std::int64_t slot = 0; slot < a.slots(); ++slot)
      if (a.ids[slot] == e) slots.push_back(static_cast<std::uint32_t>(slot));
    offsets.push_back(static_cast<std::int64_t>(slots.size()));
  }
  return {offsets, slots};
}

template <class Rule, class Order>
void expect_bodies_agree(const Rule& rule, const Order& order, const merged_batch& batch) {
  const assignment_view a = batch.view();
  prune::options o;
  o.hidden = 64;
  const pruned_arrays expected = prune_test::run(serial_executor{}, rule, order, a, o);
  const auto [offsets, slots] = lists_of(a);
  const detail::member_lists lists(offsets.data(), slots.data());
  const std::size_t members = slots.size();
  const auto expect = [&](auto kernel, unsigned threads) {
    SCOPED_TRACE(threads);
    pruned_arrays got(batch.choices.slots(), batch.choices.experts());
    std::vector<float> token_best(batch.choices.tokens());
    std::vector<std::uint32_t> rank_spill(members);
    std::vector<std::uint64_t> key_spill(2 * members);
    ASSERT_EQ(simt::launch(kernel, dim3(1), dim3(threads), 0, nullptr, rule, a, detail::facts_of(a, o), lists,
                           got.view(), token_best.data(), rank_spill.data(), key_spill.data()),
              cudaSuccess);
    for (std::size_t slot = 0; slot < batch.choices.slots(); ++slot) {
      if (!a.assigned(static_cast<std::int64_t>(slot))) continue;
      ASSERT_EQ(got.ids[slot], expected.ids[slot]) << "slot " << slot;
      ASSERT_EQ(got.weights[slot], expected.weights[slot]) << "slot " << slot;
    }
    EXPECT_EQ(support::bits_of(got.capacities, got.kept, got.dropped, got.assigned_mass, got.kept_mass),
              support::bits_of(expected.capacities, expected.kept, expected.dropped, expected.assigned_mass,
                               expected.kept_mass));
  };
  simt::under_every_schedule([&] {
    expect(prune_in_one_block<Rule, Order, true>, 64);
    expect(prune_in_one_block<Rule, Order, false>, 32);
    expect(prune_in_one_block<Rule, Order, false>, 96);
  });
}

TEST(PruneBodies, ServeWarpsAndBlocksOfAnySizeInALoop) {
  support::random_source random(72);
  const merged_batch batch(random, {150, 3, 2}, {support::adversary::mixed, 0.1, true});
  const merged_batch hot(random, {700, 1, 1}, {support::adversary::ties, 0.1, true});
  for (const merged_batch* b : {&batch, &hot}) {
    expect_bodies_agree(prune::affinity_mass{0.6}, prune::affinity_order{}, *b);
    expect_bodies_agree(prune::lower_bound{false, 0.0, 1, 0.5}, prune::batch_prioritized{}, *b);
  }
}

// One expert of 300 members by one warp, which needs the spill; a rank one past the last would land behind its end.
// Rounding may lift the threshold of some 2^53 units above their total; here a share above 1 does.
TEST(PruneBodies, HostileRanksStayInTheSpillAndUnreachedThresholdsKeepAll) {
  support::random_source random(77);
  merged_batch batch(random, {300, 1, 1}, {support::adversary::constant, 0.0, false});
  batch.rank[7] = 300;
  const auto [offsets, slots] = lists_of(batch.view());
  pruned_arrays got(300, 1);
  std::vector<float> token_best(300);
  std::vector<std::uint32_t> rank_spill(301, 0);
  std::vector<std::uint64_t> key_spill(600);
  ASSERT_EQ(simt::launch(prune_in_one_block<prune::affinity_mass, prune::affinity_order, true>, dim3(1), dim3(32), 0,
                         nullptr, prune::affinity_mass{2.0}, batch.view(), prune::batch_facts{},
                         detail::member_lists{offsets.data(), slots.data()}, got.view(), token_best.data(),
                         rank_spill.data(), key_spill.data()),
            cudaSuccess);
  EXPECT_EQ(got.capacities[0], 300);
  EXPECT_EQ(rank_spill[300], 0U);
}

// Terms of such different size that every order of additions has another sum.
TEST(PruneBodies, AddMassesInTheHostsOrder) {
  support::random_source random(75);
  merged_batch batch(random, {900, 2, 1}, {support::adversary::constant, 0.1, false});
  for (float& value : batch.choices.affinity)
    value = std::ldexp(static_cast<float>(random.uniform()), static_cast<int>(random.below(120)) - 60);
  expect_bodies_agree(prune::lower_bound{false, 0.0, 1, 0.5}, prune::batch_prioritized{}, batch);
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// Where the tests let a plan be written, and the reference's plan beside it: all exactly.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "reference/plan.hpp"
#include "resonance/plan/plan.hpp"
#include "support/assignments.hpp"

namespace plan_test {

//! Every array that a plan may write, of the sizes that the library asks for.
template <class Index>
struct plan_arrays {
  support::guarded_buffer<Index> tokens_per_expert, expert_offsets, sorted_token_ids, inverse;
  support::guarded_buffer<std::int32_t> expert_ids;
  support::guarded_buffer<std::int64_t> num_rows;

  plan_arrays(const resonance::assignment_view& a, const resonance::plan::options& o)
      : plan_arrays(a.slots(), o.local_experts(a.experts), resonance::plan::max_rows(a.slots(), a.experts, o),
                    o.tile_tokens) {}
  plan_arrays(std::int64_t slots, std::int32_t local, std::int64_t rows, std::int32_t tile)
      : tokens_per_expert(static_cast<std::size_t>(local)),
        expert_offsets(static_cast<std::size_t>(local) + 1),
        sorted_token_ids(static_cast<std::size_t>(rows)),
        inverse(static_cast<std::size_t>(slots)),
        expert_ids(static_cast<std::size_t>(rows / tile)),
        num_rows(2) {}
  resonance::plan::outputs<Index> view() {
    return {tokens_per_expert.data(), expert_offsets.data(), sorted_token_ids.data(),
            inverse.data(),           expert_ids.data(),     num_rows.data()};
  }
  bool intact() const {
    return tokens_per_expert.intact() && expert_offsets.intact() && sorted_token_ids.intact() && inverse.intact() &&
           expert_ids.intact() && num_rows.intact();
  }
  bool untouched() const {
    return tokens_per_expert.untouched() && expert_offsets.untouched() && sorted_token_ids.untouched() &&
           inverse.untouched() && expert_ids.untouched() && num_rows.untouched();
  }
  std::string bits() const {
    return support::bits_of(tokens_per_expert, expert_offsets, sorted_token_ids, inverse) +
           support::bits_of(expert_ids, num_rows);
  }
};

template <class Index, class Expected>
bool begins_with(const support::guarded_buffer<Index>& got, const std::vector<Expected>& expected) {
  return got.size() >= expected.size() &&
         std::equal(expected.begin(), expected.end(), got.begin(),
                    [](Expected e, Index g) { return static_cast<std::int64_t>(e) == static_cast<std::int64_t>(g); });
}

template <class Index>
void expect_plan(const plan_arrays<Index>& got, const reference::plan_result& expected) {
  EXPECT_TRUE(begins_with(got.tokens_per_expert, expected.tokens_per_expert));
  EXPECT_TRUE(begins_with(got.expert_offsets, expected.expert_offsets));
  EXPECT_TRUE(begins_with(got.inverse, expected.inverse.values));
  EXPECT_TRUE(begins_with(got.sorted_token_ids, expected.sorted_token_ids));
  EXPECT_TRUE(begins_with(got.expert_ids, expected.expert_ids));
  EXPECT_EQ(static_cast<std::size_t>(got.num_rows[0]), expected.num_rows_padded);
  EXPECT_EQ(static_cast<std::size_t>(got.num_rows[1]), expected.num_rows_unpadded);
  const std::size_t rows = expected.sorted_token_ids.size();
  EXPECT_TRUE(got.sorted_token_ids.untouched(rows, got.sorted_token_ids.size() - rows));
  const std::size_t tiles = expected.expert_ids.size();
  EXPECT_TRUE(got.expert_ids.untouched(tiles, got.expert_ids.size() - tiles));
}

//! Plans with every combination of options; run(assignments, options) gives a plan.
template <class Run>
void expect_every_option(support::random_source& random, const support::batch_shape& s, const Run& run) {
  const support::random_choices c(random, s, {support::adversary::mixed, 0.2, true});
  std::vector<std::int32_t> map(c.experts());
  const auto num_local = static_cast<std::int32_t>(random.between(1, c.experts()));
  for (std::int32_t& local : map) local = random.coin() ? -1 : static_cast<std::int32_t>(random.below(c.experts()));
  const reference::matrix affinity = reference::widened(c.affinity, c.tokens(), c.top_k());
  // The tile and the capacity change with the variants.
  for (int variant = 0; variant < 8; ++variant) {
    SCOPED_TRACE(::testing::Message() << s << " variant " << variant);
    resonance::plan::options o;
    reference::plan_options meaning;
    meaning.experts = c.experts();
    o.tile_tokens = random.pick(std::vector<std::int32_t>{1, 4, 16, 128, 7});
    meaning.tile_tokens = static_cast<std::size_t>(o.tile_tokens);
    if ((variant & 1) != 0) {
      o.by_affinity = true;
      meaning.affinity = &affinity;
    }
    if ((variant & 2) != 0) {
      o.pad_to_capacity = static_cast<std::int64_t>(random.below(c.tokens() / 2 + 2));
      meaning.capacity = static_cast<std::size_t>(o.pad_to_capacity);
    }
    if ((variant & 4) != 0) {
      o.expert_map = map.data();
      o.num_local = num_local;
      meaning.expert_map = map;
      meaning.num_local = static_cast<std::size_t>(num_local);
    }
    expect_plan(run(c.view(), o), reference::plan(c.reference_ids(), meaning));
  }
}

}  // namespace plan_test

// SPDX-License-Identifier: Apache-2.0
// Where the tests let a plan be written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

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

}  // namespace plan_test

// SPDX-License-Identifier: Apache-2.0
// Section 7 of the contract: which row of the expert-sorted layout holds which (token, slot).
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "reference/order.hpp"
#include "reference/table.hpp"

namespace reference {

struct plan_options {
  std::size_t experts = 0;
  std::size_t tile_tokens = 1;
  const matrix* affinity = nullptr;      // [T,K]; given: rows by affinity descending, then token, then slot
  std::optional<std::size_t> capacity;   // pad_to_capacity: every expert has this many rows
  std::vector<std::int32_t> expert_map;  // global -> local id, anything outside [0, num_local) = not here
  std::size_t num_local = 0;             // experts of the plan where expert_map is given
  double largest_finite = FLT_MAX;
};

struct plan_result {
  std::vector<std::size_t> tokens_per_expert;
  std::vector<std::size_t> expert_offsets;
  std::vector<std::int32_t> sorted_token_ids;  // row -> token*K + slot, -1 = padding
  id_table inverse;                            // [T,K] -> row or -1
  std::vector<std::int32_t> expert_ids;        // tile -> (local) expert
  std::size_t num_rows_unpadded = 0;
  std::size_t num_rows_padded = 0;
};

inline std::size_t rounded_up(std::size_t count, std::size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

//! The layout of kept ids [T,K]. With a capacity C the members of an expert beyond its first C are left out; an
//! expert then has C rows rounded up to whole tiles, which is [E,C] where the tile divides C.
inline plan_result plan(const id_table& ids, const plan_options& options) {
  const bool mapped = !options.expert_map.empty();
  const std::size_t experts = mapped ? options.num_local : options.experts;

  std::vector<std::vector<std::size_t>> members(experts);
  for (std::size_t flat = 0; flat < ids.values.size(); ++flat) {
    std::int32_t id = ids.values[flat];
    if (!names_expert(id, options.experts)) continue;
    if (mapped) id = options.expert_map[static_cast<std::size_t>(id)];
    if (names_expert(id, experts)) members[static_cast<std::size_t>(id)].push_back(flat);
  }

  plan_result result;
  result.inverse = id_table(ids.rows, ids.cols, -1);
  result.expert_offsets.push_back(0);
  for (std::size_t e = 0; e < experts; ++e) {
    if (options.affinity != nullptr) {
      // A flat index orders by token, then slot.
      std::sort(members[e].begin(), members[e].end(), [&](std::size_t a, std::size_t b) {
        return precedes(ranked_value(options.affinity->values[a], options.largest_finite), a,
                        ranked_value(options.affinity->values[b], options.largest_finite), b);
      });
    }
    if (options.capacity) members[e].resize(std::min(members[e].size(), *options.capacity));

    const std::size_t begin = result.expert_offsets.back();
    const std::size_t end = begin + rounded_up(options.capacity.value_or(members[e].size()), options.tile_tokens);
    result.sorted_token_ids.resize(end, -1);
    for (std::size_t r = 0; r < members[e].size(); ++r) {
      result.sorted_token_ids[begin + r] = static_cast<std::int32_t>(members[e][r]);
      result.inverse.values[members[e][r]] = static_cast<std::int32_t>(begin + r);
    }
    for (std::size_t row = begin; row < end; row += options.tile_tokens)
      result.expert_ids.push_back(static_cast<std::int32_t>(e));
    result.tokens_per_expert.push_back(members[e].size());
    result.expert_offsets.push_back(end);
    result.num_rows_unpadded += members[e].size();
  }
  result.num_rows_padded = result.expert_offsets.back();
  return result;
}

}  // namespace reference

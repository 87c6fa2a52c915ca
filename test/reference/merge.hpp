// SPDX-License-Identifier: Apache-2.0
// Section 5 of the contract: the resonance of token choice and expert choice.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "reference/expert_choice.hpp"
#include "reference/order.hpp"
#include "reference/table.hpp"

namespace reference {

enum class merge_kind { restricted, intersection, union_, token_only, expert_only };

struct assignment {
  std::int32_t token = 0;
  std::int32_t slot = 0;  // of topk_ids; a gained expert has K, K + 1, ... in ascending expert id
  std::int32_t expert = 0;
  double affinity = 0;
  double weight = 0;
  std::size_t rank = 0;  // rank_in_expert, 0 = best
};

//! Inside one expert: affinity descending, then token, then slot. A NaN affinity (of an id that nobody chose by score,
//! such as a filled slot) ranks last.
inline bool better_for_expert(const assignment& a, const assignment& b, double largest_finite = FLT_MAX) {
  const double affinity_a = ranked_value(a.affinity, largest_finite);
  const double affinity_b = ranked_value(b.affinity, largest_finite);
  if (affinity_a != affinity_b) return affinity_a > affinity_b;
  if (a.token != b.token) return a.token < b.token;
  return a.slot < b.slot;
}

//! The positions in `assignments` of each expert's members, in list order.
inline std::vector<std::vector<std::size_t>> members_by_expert(const std::vector<assignment>& assignments,
                                                               std::size_t experts) {
  std::vector<std::vector<std::size_t>> members(experts);
  for (std::size_t i = 0; i < assignments.size(); ++i)
    members[static_cast<std::size_t>(assignments[i].expert)].push_back(i);
  return members;
}

//! Assignments in token order: a token's own surviving choices in slot order, then those that only the experts chose.
//! `expert_tokens` is unused by restricted and token_only; `raw_scores` [T,E] weighs the gained pairs and may be empty
//! where there are none.
inline std::vector<assignment> merge(merge_kind kind, const id_table& topk_ids, const matrix& topk_weights,
                                     const matrix& affinity, const token_lists& expert_tokens = {},
                                     const matrix& raw_scores = {}, double largest_finite = FLT_MAX) {
  const std::size_t tokens = topk_ids.rows;
  const std::size_t experts = affinity.cols;
  const bool needs_expert = kind == merge_kind::intersection || kind == merge_kind::expert_only;
  const bool gains = kind == merge_kind::union_ || kind == merge_kind::expert_only;

  table<char> expert_chose(tokens, experts, 0);
  for (std::size_t e = 0; e < expert_tokens.size(); ++e)
    for (std::int32_t t : expert_tokens[e])
      if (t >= 0) expert_chose(static_cast<std::size_t>(t), e) = 1;

  std::vector<assignment> merged;
  for (std::size_t t = 0; t < tokens; ++t) {
    std::vector<bool> own(experts, false);
    for (std::size_t slot = 0; slot < topk_ids.cols; ++slot) {
      const std::int32_t id = topk_ids(t, slot);
      if (!names_expert(id, experts)) continue;
      const auto e = static_cast<std::size_t>(id);
      own[e] = true;
      if (needs_expert && !expert_chose(t, e)) continue;
      merged.push_back({static_cast<std::int32_t>(t), static_cast<std::int32_t>(slot), id, affinity(t, e),
                        topk_weights(t, slot), 0});
    }
    std::size_t slot = topk_ids.cols;
    for (std::size_t e = 0; gains && e < experts; ++e) {
      if (own[e] || !expert_chose(t, e)) continue;
      merged.push_back({static_cast<std::int32_t>(t), static_cast<std::int32_t>(slot++), static_cast<std::int32_t>(e),
                        affinity(t, e), raw_scores(t, e), 0});
    }
  }

  for (std::vector<std::size_t>& members : members_by_expert(merged, experts)) {
    std::sort(members.begin(), members.end(),
              [&](std::size_t a, std::size_t b) { return better_for_expert(merged[a], merged[b], largest_finite); });
    for (std::size_t rank = 0; rank < members.size(); ++rank) merged[members[rank]].rank = rank;
  }
  return merged;
}

}  // namespace reference

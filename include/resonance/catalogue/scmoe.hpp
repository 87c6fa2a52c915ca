// SPDX-License-Identifier: Apache-2.0
//! \file
//! SCMoE, self-contrast of a mixture of experts (arXiv 2405.14507): the same model routes a batch twice, by its best
//! experts and by an expert that it would not choose; the logits of the two passes meet in
//! affinity::host_contrast_logits.
#ifndef RESONANCE_CATALOGUE_SCMOE_HPP
#define RESONANCE_CATALOGUE_SCMOE_HPP

#include <resonance/affinity/contrast.hpp>
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/config.hpp>
#include <resonance/core/std.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/policies.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace catalogue {

//! The two routers of SCMoE on router logits. It must outlive the options that it gave, which point to its ranks.
struct scmoe {
  using router = resonance::router<affinity::logits, token_choice::rank_set, merge::token_only, prune::unlimited>;

  std::int32_t strong_ranks[2] = {0, 1};  //!< the two best, renormalized
  std::int32_t weak_rank = 1;             //!< rank-k: {k - 1}, weight 1; the paper's default is k = 2
  affinity::contrast_options contrast{};  //!< of the two passes' vocabulary logits

  router::options strong() const { return by_ranks(strong_ranks, 2); }
  router::options weak() const { return by_ranks(&weak_rank, 1); }

 private:
  static router::options by_ranks(const std::int32_t* ranks, std::int32_t count) {
    router::options o;
    o.selection.ranks = ranks;
    o.choice.top_k = count;
    o.choice.renormalize = true;
    return o;
  }
};

}  // namespace catalogue
RESONANCE_NAMESPACE_END

#endif

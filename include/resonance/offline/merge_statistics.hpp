// SPDX-License-Identifier: Apache-2.0
//! \file
//! One balance report out of those of many ranks that run asynchronously.
//!
//! Only the weighting by quality and staleness, and the rule of who may enter, are those of asynchronous federated
//! learning (arXiv 2310.06448). This is no implementation of it: there is no contract, no publisher and no client here.
#ifndef RESONANCE_OFFLINE_MERGE_STATISTICS_HPP
#define RESONANCE_OFFLINE_MERGE_STATISTICS_HPP

#include <algorithm>
#include <cstdint>
#include <limits>

#include <resonance/config.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/workspace.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace offline {

//! What one rank says about its tokens, some steps ago.
struct rank_report {
  std::int32_t rank = 0;                            //!< each rank reports once
  double quality = 1.0;                             //!< in [0, 3e38]: tokens routed, say, or 1
  std::int64_t staleness = 0;                       //!< >= 0: steps since it was made
  const std::int64_t* tokens_per_expert = nullptr;  //!< [E] >= 0
  const double* bias_update = nullptr;              //!< [E] finite: change of the correction bias
};

struct staleness_options {
  double decay = 0.5;                                             //!< in (0, 1]: what a step of age leaves of a weight
  std::int64_t limit = std::numeric_limits<std::int64_t>::max();  //!< >= 0: older reports are left out

  constexpr status check() const {
    return detail::checks{}.in_range(decay > 0.0 && decay <= 1.0, "decay").in_range(limit >= 0, "limit").result();
  }
};

//! Where the merged report is written; every pointer is nullable.
struct merged_statistics {
  double* tokens_per_expert = nullptr;  //!< [E]
  double* bias_update = nullptr;        //!< [E]
  double* weights = nullptr;            //!< [R] by report as given; 0 = left out
  std::int32_t* admitted = nullptr;     //!< [1] reports that entered
};

}  // namespace offline

namespace detail {

//! base^exponent by squaring: products alone, so that every platform has the same bits.
inline double power(double base, std::int64_t exponent) {
  double result = 1.0;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 != 0) result *= base;
    base *= base;
  }
  return result;
}

inline status check_rank_report(const offline::rank_report& r, std::int32_t experts,
                                const offline::merged_statistics& out) {
  checks c;
  c.in_range(r.quality >= 0.0 && r.quality <= 3e38, "reports.quality");
  c.in_range(r.staleness >= 0, "reports.staleness");
  c.present(r.tokens_per_expert, out.tokens_per_expert != nullptr, "reports.tokens_per_expert");
  c.present(r.bias_update, out.bias_update != nullptr, "reports.bias_update");
  for (std::int32_t e = 0; e < experts && c.result().ok(); ++e) {
    if (out.tokens_per_expert != nullptr) c.in_range(r.tokens_per_expert[e] >= 0, "reports.tokens_per_expert");
    if (out.bias_update != nullptr) c.in_range(r.bias_update[e] - r.bias_update[e] == 0.0, "reports.bias_update");
  }
  return c.result();
}

}  // namespace detail

namespace offline {

//! Bytes of workspace that merge_statistics needs: 12 per report, and padding.
inline std::size_t merge_statistics_workspace_bytes(std::int32_t reports) {
  detail::workspace_carver counter;
  counter.take<std::int32_t>(reports);
  counter.take<double>(reports);
  return counter.bytes();
}

//! Merges the ranks' balance statistics into a weighted mean; fresh and good reports count more.
//!
//! Equation   w_r = quality_r * decay^staleness_r for staleness_r <= limit, else 0; merged = sum_r w_r x_r / sum_r w_r
//! Inputs     reports[R], R >= 0, in any order; what is left out is checked like the rest
//! Outputs    tokens_per_expert double[E], bias_update double[E]: the mean, 0 where no report has a weight
//!            weights double[R] with sum 1, or all 0; admitted int32[1]: reports within the limit
//! Contract   sums in double by rising rank: the same bits in whatever order the reports came; fresh reports of quality
//!            1 give the plain mean, exactly while sums stay below 2^53; a refusal may write to the workspace alone
//! Errors     out_of_range (experts, reports, decay, limit, reports.rank where a rank comes twice, reports.quality,
//!            reports.staleness, reports.tokens_per_expert, reports.bias_update), null_pointer, workspace_too_small
//! Resources  merge_statistics_workspace_bytes; no allocation
//! Cost       O(R (E + log R))
//! Example    test/offline/merge_statistics_test.cpp
inline status merge_statistics(const rank_report* reports, std::int32_t count, std::int32_t experts,
                               const staleness_options& o, const merged_statistics& out, workspace_view workspace) {
  detail::checks c;
  c.also(o.check()).in_range(experts >= 1, "experts").in_range(count >= 0, "reports");
  c.present(reports, count > 0, "reports");
  for (std::int32_t r = 0; r < count && c.result().ok(); ++r)
    c.also(detail::check_rank_report(reports[r], experts, out));
  if (!c.result().ok()) return c.result();
  c.also(detail::check_workspace(workspace, merge_statistics_workspace_bytes(count)));
  if (!c.result().ok()) return c.result();

  detail::workspace_carver carver(workspace.data);
  auto* by_rank = carver.take<std::int32_t>(count);
  for (std::int32_t r = 0; r < count; ++r) by_rank[r] = r;
  std::sort(by_rank, by_rank + count,
            [&](std::int32_t a, std::int32_t b) { return reports[a].rank < reports[b].rank; });
  for (std::int32_t i = 1; i < count; ++i)
    c.in_range(reports[by_rank[i - 1]].rank != reports[by_rank[i]].rank, "reports.rank");
  if (!c.result().ok()) return c.result();

  auto* weights = carver.take<double>(count);  // by rank
  double total = 0.0;
  std::int32_t admitted = 0;
  for (std::int32_t i = 0; i < count; ++i) {
    const rank_report& report = reports[by_rank[i]];
    weights[i] = 0.0;
    if (report.staleness > o.limit) continue;
    const double freshness = detail::power(o.decay, report.staleness);
    weights[i] = report.quality * freshness;
    total = math::fma(report.quality, freshness, total);
    ++admitted;
  }
  const auto share = [&](double sum) { return total > 0.0 ? sum / total : 0.0; };
  const auto merge = [&](double* merged, const auto& value_of) {
    for (std::int32_t e = 0; merged != nullptr && e < experts; ++e) {
      double sum = 0.0;
      for (std::int32_t i = 0; i < count; ++i)
        sum = math::fma(weights[i], static_cast<double>(value_of(reports[by_rank[i]], e)), sum);
      merged[e] = share(sum);
    }
  };
  merge(out.tokens_per_expert, [](const rank_report& r, std::int32_t e) { return r.tokens_per_expert[e]; });
  merge(out.bias_update, [](const rank_report& r, std::int32_t e) { return r.bias_update[e]; });
  for (std::int32_t i = 0; out.weights != nullptr && i < count; ++i) out.weights[by_rank[i]] = share(weights[i]);
  if (out.admitted != nullptr) *out.admitted = admitted;
  return {};
}

}  // namespace offline
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "resonance_route/run.hpp"

namespace route_cli {

void measure_balance(const resonance::thread_pool& pool, const options& o, const inputs& in, routing& r) {
  namespace balance = resonance::balance;
  balance_figures& figures = r.balance;
  resize(figures.mean_probability, r.experts);
  const resonance::matrix_view<const float> deltas(r.affinity.data(), r.tokens, r.experts);
  scratch workspace(balance::host_router_statistics_workspace_bytes(pool, r.tokens, r.experts));
  require(balance::host_router_statistics(pool, deltas, figures.mean_probability.data(), &figures.z_loss,
                                          workspace.view()));

  std::vector<std::int64_t> assigned(r.kept);
  for (std::size_t e = 0; e < assigned.size(); ++e) assigned[e] += r.dropped[e];
  figures.load_balance_loss =
      balance::load_balance_loss(1.0, r.experts, assigned.data(), figures.mean_probability.data());

  if (o.reads_hidden()) {
    resonance::assignment_view kept = r.merged.view(r.tokens, r.experts);
    kept.ids = r.kept_ids.data();
    scratch columns(balance::host_calinski_harabasz_workspace_bytes(in.hidden.cols, r.experts));
    std::visit(
        [&](const auto& x) {
          require(balance::host_calinski_harabasz(pool, view(x, in.hidden), kept, &figures.calinski_harabasz,
                                                  columns.view()));
        },
        in.hidden.values);
  }
  if (!in.expert_map.empty() && r.tokens > 0) {
    const auto is_local = std::make_unique<bool[]>(in.expert_map.size());
    for (std::size_t e = 0; e < in.expert_map.size(); ++e) is_local[e] = in.expert_map[e] >= 0;
    require(balance::locality_loss(1.0, o.locality_epsilon, r.experts, figures.mean_probability.data(), is_local.get(),
                                   &figures.locality_loss));
  }
}

}  // namespace route_cli

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Everything for the host. The executors on OpenMP and std::thread are their own includes:
//! resonance/core/executor_openmp.hpp and resonance/core/executor_threads.hpp.
#ifndef RESONANCE_RESONANCE_HPP
#define RESONANCE_RESONANCE_HPP

#include <resonance/affinity/blend.hpp>
#include <resonance/affinity/contrast.hpp>
#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/host_residual_logits.hpp>
#include <resonance/affinity/host_blend.hpp>
#include <resonance/affinity/host_contrast.hpp>
#include <resonance/affinity/host_scores.hpp>
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/residual_logits.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/balance/host_balance.hpp>
#include <resonance/balance/host_delta_quantile.hpp>
#include <resonance/balance/host_sinkhorn.hpp>
#include <resonance/balance/losses.hpp>
#include <resonance/balance/moving_average.hpp>
#include <resonance/balance/sinkhorn.hpp>
#include <resonance/catalogue/adapmoe.hpp>
#include <resonance/catalogue/capacity_routers.hpp>
#include <resonance/catalogue/mc.hpp>
#include <resonance/catalogue/models.hpp>
#include <resonance/catalogue/moma.hpp>
#include <resonance/catalogue/mor1e.hpp>
#include <resonance/catalogue/scmoe.hpp>
#include <resonance/config.hpp>
#include <resonance/core/executor.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>
#include <resonance/core/workspace.hpp>
#include <resonance/expert_choice/host_expert_choice.hpp>
#include <resonance/merge/host_merge.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/offline/bit_allocation.hpp>
#include <resonance/offline/cache_allocation.hpp>
#include <resonance/offline/usage.hpp>
#include <resonance/permute/host_permute.hpp>
#include <resonance/permute/host_unpermute.hpp>
#include <resonance/permute/in_place_experts.hpp>
#include <resonance/plan/host_plan.hpp>
#include <resonance/plan/plan.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/choice_rules.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/host_expert_capacities.hpp>
#include <resonance/prune/host_protect_tokens.hpp>
#include <resonance/prune/host_prune.hpp>
#include <resonance/prune/host_prune_choices.hpp>
#include <resonance/prune/host_token_importance.hpp>
#include <resonance/prune/options.hpp>
#include <resonance/route/host_route.hpp>
#include <resonance/route/options.hpp>
#include <resonance/route/router.hpp>
#include <resonance/token_choice/host_token_choice.hpp>
#include <resonance/token_choice/host_weights.hpp>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/selection_values.hpp>
#include <resonance/version.hpp>

#endif

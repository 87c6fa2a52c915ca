// SPDX-License-Identifier: Apache-2.0
// Compiled, never run: every policy that both backends share is called from device code, by nvcc and by NVRTC.
#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/balance/moving_average.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>
#include <resonance/expert_choice/options.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/plan/plan.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/prune/prune_choices.hpp>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/weights.hpp>

namespace policies_compile {

template <class Metric, class Row>
__global__ void affinities(const Metric, const Row* rows, float token_norm, float expert_norm, float* delta) {
  using traits = resonance::row_traits<Row>;
  const float value = Metric::finish(traits::widen(rows[threadIdx.x]), token_norm, expert_norm);
  delta[threadIdx.x] = resonance::choosable_score(value, traits::largest);
}

template <class Row>
__global__ void narrow(const float* values, Row* rows) {
  rows[threadIdx.x] = resonance::row_traits<Row>::narrow(values[threadIdx.x]);
}

template <class Score>
__global__ void weights(const Score score, const resonance::token_choice::options options,
                        const resonance::softmax_terms terms, const float* delta, std::int64_t count, float* weight,
                        std::uint64_t* keys) {
  for (std::int64_t k = 0; k < count; ++k)
    keys[k] = resonance::pack_key(resonance::order_key(score.unbiased_key(delta[k])), static_cast<std::uint32_t>(k));
  if (resonance::token_choice::needs_row_terms<Score>(options) && !(terms.sum > 0.0f)) return;
  resonance::token_choice::weigh_slots(
      score, options, terms, count, [=](std::int64_t k) { return delta[k]; },
      [=](std::int64_t k) -> float& { return weight[k]; });
}

template <class Rule>
__global__ void capacities(const Rule rule, const resonance::prune::batch_facts facts, const std::int64_t* assigned,
                           std::int64_t* capacity) {
  const auto expert = static_cast<std::int32_t>(threadIdx.x);
  capacity[expert] = rule.capacity(facts, expert, assigned[expert]);
}

__global__ void mass_units(const resonance::prune::affinity_mass rule, const float* delta, std::int64_t* units) {
  const double scale = resonance::prune::mass_scale(delta[0]);
  units[threadIdx.x] = rule.threshold(resonance::prune::mass_units(delta[threadIdx.x], scale));
}

template <class Order>
__global__ void drop_keys(const Order, const float* token_best, std::uint32_t* keys) {
  keys[threadIdx.x] = Order::key(threadIdx.x, Order::needs_token_best ? token_best[threadIdx.x] : 0.0f);
}

template <class Rule>
__global__ void pruned_choices(const Rule, float bound, const resonance::prune::choice_options options,
                               std::int32_t experts, std::int32_t* ids, float* weights, std::int64_t* dropped) {
  dropped[threadIdx.x] = resonance::detail::prune_token_choices<Rule>(
      bound, options, experts, 2 * threadIdx.x, 2 * threadIdx.x + 2, [=](std::int64_t slot) { return ids[slot]; },
      [=](std::int64_t slot) { return weights[slot]; },
      [=](std::int64_t slot, std::int32_t id, float weight) {
        ids[slot] = id;
        weights[slot] = weight;
      });
}

__global__ void smooth(resonance::balance::moving_average* average, const float* delta_max) {
  average->add(*delta_max);
}

__global__ void local_experts(const resonance::plan::options options, const resonance::assignment_view assignments,
                              const resonance::expert_choice::options experts, std::int64_t* result) {
  std::int64_t sum = 0;
  for (std::int64_t slot = assignments.begin(threadIdx.x); slot < assignments.end(threadIdx.x); ++slot)
    sum += options.local_expert(assignments, slot) + assignments.token(slot) + experts.of(threadIdx.x);
  result[threadIdx.x] = sum + resonance::affinity::slice_begin(threadIdx.x, assignments.experts, 2880);
}

__global__ void functions(float* x, double* y) {
  namespace math = resonance::math;
  x[0] = math::exp(x[0]) + math::log(x[1]) + math::softplus(x[2]) + math::tanh(x[3]) + math::sigmoid(x[4]) +
         math::sqrt(math::abs(x[5])) + math::fma(x[6], x[7], x[8]) + (math::is_nan(x[9]) ? 1.0f : 0.0f);
  y[0] = math::exp(math::fma(y[0], y[1], y[2]));
}

template <class Merge>
__global__ void merge_traits(const Merge, bool* traits) {
  traits[0] = Merge::keeps_token_choice || Merge::needs_expert_choice || Merge::adds_expert_choice;
}

// Names every instantiation; that is what makes the compiler build them.
namespace affinity = resonance::affinity;
namespace prune = resonance::prune;
namespace merge = resonance::merge;

template __global__ void affinities(const affinity::dot, const float*, float, float, float*);
template __global__ void affinities(const affinity::cosine, const float*, float, float, float*);
template __global__ void affinities(const affinity::grouped_average_cosine, const float*, float, float, float*);
template __global__ void affinities(const affinity::grouped_average, const float*, float, float, float*);
template __global__ void affinities(const affinity::logits, const float*, float, float, float*);
template __global__ void affinities(const affinity::cosine_of_logits, const float*, float, float, float*);
template __global__ void affinities(const affinity::dot, const resonance::bfloat16*, float, float, float*);
template __global__ void narrow(const float*, resonance::bfloat16*);
template __global__ void affinities(const affinity::dot, const resonance::float16*, float, float, float*);
template __global__ void narrow(const float*, resonance::float16*);

#define RESONANCE_TEST_WEIGHTS(Score)                                                             \
  template __global__ void weights(const affinity::Score, const resonance::token_choice::options, \
                                   const resonance::softmax_terms, const float*, std::int64_t, float*, std::uint64_t*)
RESONANCE_TEST_WEIGHTS(identity);
RESONANCE_TEST_WEIGHTS(softmax);
RESONANCE_TEST_WEIGHTS(softmax_over_chosen);
RESONANCE_TEST_WEIGHTS(sigmoid);
RESONANCE_TEST_WEIGHTS(sqrt_softplus);
RESONANCE_TEST_WEIGHTS(relu_softmax);
#undef RESONANCE_TEST_WEIGHTS

template __global__ void capacities(const prune::unlimited, const prune::batch_facts, const std::int64_t*,
                                    std::int64_t*);
template __global__ void capacities(const prune::fixed, const prune::batch_facts, const std::int64_t*, std::int64_t*);
template __global__ void capacities(const prune::factor, const prune::batch_facts, const std::int64_t*, std::int64_t*);
template __global__ void capacities(const prune::heterogeneous_factor, const prune::batch_facts, const std::int64_t*,
                                    std::int64_t*);
template __global__ void capacities(const prune::lower_bound, const prune::batch_facts, const std::int64_t*,
                                    std::int64_t*);
template __global__ void capacities(const prune::per_expert, const prune::batch_facts, const std::int64_t*,
                                    std::int64_t*);
template __global__ void pruned_choices(const prune::weight_ratio, float, const prune::choice_options, std::int32_t,
                                        std::int32_t*, float*, std::int64_t*);
template __global__ void pruned_choices(const prune::sensitivity, float, const prune::choice_options, std::int32_t,
                                        std::int32_t*, float*, std::int64_t*);
template __global__ void drop_keys(const prune::affinity_order, const float*, std::uint32_t*);
template __global__ void drop_keys(const prune::position, const float*, std::uint32_t*);
template __global__ void drop_keys(const prune::slot_major, const float*, std::uint32_t*);
template __global__ void drop_keys(const prune::batch_prioritized, const float*, std::uint32_t*);
template __global__ void merge_traits(const merge::restricted, bool*);
template __global__ void merge_traits(const merge::intersection, bool*);
template __global__ void merge_traits(const merge::union_, bool*);
template __global__ void merge_traits(const merge::token_only, bool*);
template __global__ void merge_traits(const merge::expert_only, bool*);

}  // namespace policies_compile

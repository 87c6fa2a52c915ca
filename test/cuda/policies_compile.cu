// SPDX-License-Identifier: Apache-2.0
// Compiled, never run: every policy that both backends share is called from device code.
#include <cstdint>

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/views.hpp>
#include <resonance/expert_choice/host_expert_choice.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/plan/plan.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/prune/drop_order.hpp>
#include <resonance/token_choice/policies.hpp>
#include <resonance/token_choice/weights.hpp>

namespace {

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
  const double quantum = resonance::prune::mass_quantum(delta[0]);
  units[threadIdx.x] = rule.threshold(resonance::prune::mass_units(delta[threadIdx.x], quantum));
}

template <class Order>
__global__ void drop_keys(const Order, const float* token_best, std::uint32_t* keys) {
  keys[threadIdx.x] = Order::key(threadIdx.x, Order::needs_token_best ? token_best[threadIdx.x] : 0.0f);
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

template <class Metric>
void launch_metric(const Metric& metric) {
  affinities<<<1, 1>>>(metric, static_cast<const float*>(nullptr), 1.0f, 1.0f, nullptr);
  affinities<<<1, 1>>>(metric, static_cast<const resonance::bfloat16*>(nullptr), 1.0f, 1.0f, nullptr);
  affinities<<<1, 1>>>(metric, static_cast<const resonance::float16*>(nullptr), 1.0f, 1.0f, nullptr);
}

template <class Merge>
__global__ void merge_traits(const Merge, bool* traits) {
  traits[0] = Merge::keeps_token_choice || Merge::needs_expert_choice || Merge::adds_expert_choice;
}

}  // namespace

//! Names every instantiation; that is what makes the compiler build them.
void instantiate_policies() {
  namespace affinity = resonance::affinity;
  namespace prune = resonance::prune;
  namespace merge = resonance::merge;
  launch_metric(affinity::dot{});
  launch_metric(affinity::cosine{});
  launch_metric(affinity::grouped_average_cosine{});
  launch_metric(affinity::grouped_average{});
  launch_metric(affinity::logits{});
  launch_metric(affinity::cosine_of_logits{});
  narrow<<<1, 1>>>(nullptr, static_cast<resonance::bfloat16*>(nullptr));
  narrow<<<1, 1>>>(nullptr, static_cast<resonance::float16*>(nullptr));
  const resonance::token_choice::options choice;
  const resonance::softmax_terms terms;
  weights<<<1, 1>>>(affinity::identity{}, choice, terms, nullptr, 0, nullptr, nullptr);
  weights<<<1, 1>>>(affinity::softmax{}, choice, terms, nullptr, 0, nullptr, nullptr);
  weights<<<1, 1>>>(affinity::softmax_over_chosen{}, choice, terms, nullptr, 0, nullptr, nullptr);
  weights<<<1, 1>>>(affinity::sigmoid{}, choice, terms, nullptr, 0, nullptr, nullptr);
  weights<<<1, 1>>>(affinity::sqrt_softplus{}, choice, terms, nullptr, 0, nullptr, nullptr);
  weights<<<1, 1>>>(affinity::relu_softmax{}, choice, terms, nullptr, 0, nullptr, nullptr);
  const prune::batch_facts facts;
  capacities<<<1, 1>>>(prune::unlimited{}, facts, nullptr, nullptr);
  capacities<<<1, 1>>>(prune::fixed{}, facts, nullptr, nullptr);
  capacities<<<1, 1>>>(prune::factor{}, facts, nullptr, nullptr);
  capacities<<<1, 1>>>(prune::lower_bound{}, facts, nullptr, nullptr);
  capacities<<<1, 1>>>(prune::per_expert{}, facts, nullptr, nullptr);
  mass_units<<<1, 1>>>(prune::affinity_mass{}, nullptr, nullptr);
  drop_keys<<<1, 1>>>(prune::affinity_order{}, nullptr, nullptr);
  drop_keys<<<1, 1>>>(prune::position{}, nullptr, nullptr);
  drop_keys<<<1, 1>>>(prune::slot_major{}, nullptr, nullptr);
  drop_keys<<<1, 1>>>(prune::batch_prioritized{}, nullptr, nullptr);
  merge_traits<<<1, 1>>>(merge::restricted{}, nullptr);
  merge_traits<<<1, 1>>>(merge::intersection{}, nullptr);
  merge_traits<<<1, 1>>>(merge::union_{}, nullptr);
  merge_traits<<<1, 1>>>(merge::token_only{}, nullptr);
  merge_traits<<<1, 1>>>(merge::expert_only{}, nullptr);
  local_experts<<<1, 1>>>({}, {}, {}, nullptr);
  functions<<<1, 1>>>(nullptr, nullptr);
}

// SPDX-License-Identifier: Apache-2.0
// The library's stages behind a C interface, for compare.py. Built as users build: -O2, no target of its own.
#include <cstdint>
#include <memory>
#include <vector>

#include <resonance/core/executor_threads.hpp>
#include <resonance/resonance.hpp>

namespace {

using namespace resonance;

// One pool per number of threads; a workspace that grows and stays.
const thread_pool& pool_of(int threads) {
  static std::unique_ptr<thread_pool> pools[65];
  if (!pools[threads]) pools[threads] = std::make_unique<thread_pool>(threads);
  return *pools[threads];
}

workspace_view workspace_of(std::size_t bytes) {
  static std::vector<char> memory;
  if (memory.size() < bytes) memory.resize(bytes);
  return {memory.data(), memory.size()};
}

template <class Logit>
int select(const Logit* logits, std::int64_t tokens, std::int64_t experts, int top_k, int threads, std::int32_t* ids,
           float* weights) {
  affinity::logits_input<Logit> input;
  input.logits = matrix_view<const Logit>(logits, tokens, experts);
  const affinity::host_source<affinity::logits, affinity::logits_input<Logit>> source(affinity::logits{}, input);
  token_choice::options o;
  o.top_k = top_k;
  o.renormalize = true;
  const thread_pool& pool = pool_of(threads);
  return token_choice::host_token_choice(pool, source, affinity::softmax{}, token_choice::top_k{}, o,
                                         {ids, weights, nullptr}, {},
                                         workspace_of(token_choice::host_token_choice_workspace_bytes(pool, source)))
                 .ok()
             ? 0
             : 1;
}

permute::row_plan<> plan_of(std::int64_t tokens, int top_k, const std::int32_t* sorted, const std::int32_t* inverse,
                            const float* weights) {
  permute::row_plan<> plan;
  plan.assignments.tokens = tokens;
  plan.assignments.slots_per_token = top_k;
  plan.assignments.experts = 1;
  plan.assignments.weights = weights;
  plan.sorted_token_ids = sorted;
  plan.inverse = inverse;
  plan.num_rows = tokens * top_k;
  return plan;
}

template <class Row>
int permute_rows(const Row* x, std::int64_t tokens, std::int64_t hidden, int top_k, const std::int32_t* sorted,
                 const std::int32_t* inverse, int threads, Row* out) {
  return permute::host_permute(pool_of(threads), matrix_view<const Row>(x, tokens, hidden),
                               plan_of(tokens, top_k, sorted, inverse, nullptr),
                               matrix_view<Row>(out, tokens * top_k, hidden))
                 .ok()
             ? 0
             : 1;
}

template <class Row>
int unpermute_rows(const Row* rows, std::int64_t tokens, std::int64_t hidden, int top_k, const std::int32_t* sorted,
                   const std::int32_t* inverse, const float* weights, int threads, Row* out) {
  return permute::host_unpermute(pool_of(threads), matrix_view<const Row>(rows, tokens * top_k, hidden),
                                 plan_of(tokens, top_k, sorted, inverse, weights),
                                 matrix_view<Row>(out, tokens, hidden))
                 .ok()
             ? 0
             : 1;
}

//! Expert-token resonance from hidden states: GrAP, top-k, restricted merge, capacity by mass, plan.
int route_rows(const float* x, std::int64_t tokens, std::int64_t hidden, int experts, int top_k, int threads,
               std::int32_t* kept_ids, std::int32_t* sorted, std::int32_t* inverse) {
  using etr = router<affinity::grouped_average_cosine, token_choice::top_k, merge::restricted, prune::affinity_mass>;
  static std::vector<std::int32_t> ids, offsets;
  static std::vector<float> weights, kept_weights;
  const auto slots = static_cast<std::size_t>(tokens * top_k);
  ids.resize(slots);
  weights.resize(slots);
  kept_weights.resize(slots);
  offsets.resize(static_cast<std::size_t>(experts) + 1);
  affinity::hidden_input<float> input;
  input.hidden = matrix_view<const float>(x, tokens, hidden);
  input.experts = experts;
  etr::options o;
  o.choice.top_k = top_k;
  o.choice.renormalize = true;
  o.capacity.rho = 0.8;
  std::int64_t rows[2];
  route::outputs<> out;
  out.choice.topk_ids = ids.data();
  out.choice.topk_weights = weights.data();
  out.prune.ids = kept_ids;
  out.prune.weights = kept_weights.data();
  out.plan.expert_offsets = offsets.data();
  out.plan.sorted_token_ids = sorted;
  out.plan.inverse = inverse;
  out.plan.num_rows = rows;
  const thread_pool& pool = pool_of(threads);
  return etr::run(on_host(pool), input, o, out, workspace_of(etr::workspace_bytes(on_host(pool), input, o))).ok() ? 0
                                                                                                                  : 1;
}

}  // namespace

extern "C" {

int select_f32(const float* x, std::int64_t t, std::int64_t e, int k, int n, std::int32_t* ids, float* w) {
  return select(x, t, e, k, n, ids, w);
}
int select_bf16(const void* x, std::int64_t t, std::int64_t e, int k, int n, std::int32_t* ids, float* w) {
  return select(static_cast<const bfloat16*>(x), t, e, k, n, ids, w);
}

int choose_tokens(const float* scores, std::int64_t tokens, std::int64_t experts, std::int64_t capacity, int threads,
                  std::int32_t* ids, float* values) {
  expert_choice::options o;
  o.capacity = capacity;
  const thread_pool& pool = pool_of(threads);
  return expert_choice::host_expert_choice(
             pool, matrix_view<const float>(scores, tokens, experts), o, {ids, values},
             workspace_of(expert_choice::host_expert_choice_workspace_bytes(pool, tokens)))
                 .ok()
             ? 0
             : 1;
}

int group(const std::int32_t* ids, std::int64_t tokens, int top_k, int experts, int threads, std::int32_t* sorted,
          std::int32_t* inverse, std::int32_t* offsets) {
  assignment_view a;
  a.tokens = tokens;
  a.experts = experts;
  a.slots_per_token = top_k;
  a.ids = ids;
  plan::outputs<> out;
  std::int64_t rows[2];
  out.expert_offsets = offsets;
  out.sorted_token_ids = sorted;
  out.inverse = inverse;
  out.num_rows = rows;
  const thread_pool& pool = pool_of(threads);
  const plan::options o;
  return plan::host_plan(pool, a, o, out, workspace_of(plan::host_plan_workspace_bytes(pool, a, o))).ok() ? 0 : 1;
}

int route(const float* x, std::int64_t t, std::int64_t h, int e, int k, int n, std::int32_t* kept_ids,
          std::int32_t* sorted, std::int32_t* inverse) {
  return route_rows(x, t, h, e, k, n, kept_ids, sorted, inverse);
}

int permute_f32(const float* x, std::int64_t t, std::int64_t h, int k, const std::int32_t* sorted,
                const std::int32_t* inverse, int n, float* out) {
  return permute_rows(x, t, h, k, sorted, inverse, n, out);
}
int permute_bf16(const void* x, std::int64_t t, std::int64_t h, int k, const std::int32_t* sorted,
                 const std::int32_t* inverse, int n, void* out) {
  return permute_rows(static_cast<const bfloat16*>(x), t, h, k, sorted, inverse, n, static_cast<bfloat16*>(out));
}
int unpermute_f32(const float* rows, std::int64_t t, std::int64_t h, int k, const std::int32_t* sorted,
                  const std::int32_t* inverse, const float* w, int n, float* out) {
  return unpermute_rows(rows, t, h, k, sorted, inverse, w, n, out);
}
int unpermute_bf16(const void* rows, std::int64_t t, std::int64_t h, int k, const std::int32_t* sorted,
                   const std::int32_t* inverse, const float* w, int n, void* out) {
  return unpermute_rows(static_cast<const bfloat16*>(rows), t, h, k, sorted, inverse, w, n,
                        static_cast<bfloat16*>(out));
}

}  // extern "C"

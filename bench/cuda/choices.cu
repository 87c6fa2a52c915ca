// SPDX-License-Identifier: Apache-2.0
// Token choice from logits and from hidden states (bf16), expert choice, and the sums of the balance.
#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/balance/device_balance.cuh>
#include <resonance/expert_choice/device_expert_choice.cuh>
#include <resonance/token_choice/device_token_choice.cuh>

#include "harness.cuh"

namespace bench {

namespace rs = resonance;

namespace {

template <class Source>
timing time_choice(const stage_timer& timer, const Source& source, const shape& s) {
  const device_array<std::int32_t> ids(s.slots());
  const device_array<float> weights(s.slots());
  rs::token_choice::options o;
  o.top_k = s.top_k;
  o.renormalize = true;
  const rs::affinity::softmax score;
  const rs::token_choice::top_k selection;
  const std::size_t bytes = rs::token_choice::device_token_choice_workspace_bytes(source, score, selection, o);
  const device_array<char> workspace(static_cast<std::int64_t>(bytes));
  return timer.time([&](cudaStream_t stream) {
    rs::device_stream on;
    on.stream = stream;
    return rs::token_choice::device_token_choice(on, source, score, selection, o, {ids.data(), weights.data(), nullptr},
                                                 {}, {workspace.data(), bytes});
  });
}

}  // namespace

void time_choices(const card& of, const stage_timer& timer, const shape& s) {
  const double choice_bytes = 8.0 * static_cast<double>(s.slots());
  const double score_bytes = 4.0 * static_cast<double>(s.tokens) * s.experts;
  const device_array<float> logits(s.tokens * s.experts);
  fill(logits, s.tokens * s.experts, 1);
  rs::affinity::logits_input<float> given;
  given.logits = {logits.data(), s.tokens, s.experts};
  using logits_source = rs::affinity::warp_source<rs::affinity::logits, rs::affinity::logits_input<float>>;
  print_timing(of, "token choice, logits", s, score_bytes + choice_bytes,
               time_choice(timer, logits_source({}, given), s));

  const device_array<rs::bfloat16> rows(s.tokens * s.hidden);
  fill(rows, s.tokens * s.hidden, 2);
  rs::affinity::hidden_input<rs::bfloat16> hidden;
  hidden.hidden = {rows.data(), s.tokens, s.hidden};
  hidden.experts = s.experts;
  using grap_source =
      rs::affinity::warp_source<rs::affinity::grouped_average_cosine, rs::affinity::hidden_input<rs::bfloat16>>;
  print_timing(of, "GrAP and token choice, bf16", s,
               2.0 * static_cast<double>(s.tokens) * static_cast<double>(s.hidden) + choice_bytes,
               time_choice(timer, grap_source({}, hidden), s));

  rs::expert_choice::options o;
  o.capacity = (s.slots() + s.experts - 1) / s.experts;
  const device_array<std::int32_t> token_ids(s.experts * o.capacity);
  const device_array<float> token_scores(s.experts * o.capacity);
  const std::size_t bytes = rs::expert_choice::device_expert_choice_workspace_bytes(s.tokens, s.experts, o);
  const device_array<char> workspace(static_cast<std::int64_t>(bytes));
  const rs::matrix_view<const float> scores(logits.data(), s.tokens, s.experts);
  print_timing(of, "expert choice", s, score_bytes + 8.0 * s.experts * static_cast<double>(o.capacity),
               timer.time([&](cudaStream_t stream) {
                 rs::device_stream on;
                 on.stream = stream;
                 return rs::expert_choice::device_expert_choice(on, scores, o, {token_ids.data(), token_scores.data()},
                                                                {workspace.data(), bytes});
               }));

  const std::size_t sums_bytes = rs::balance::device_router_statistics_workspace_bytes(s.tokens, s.experts);
  const device_array<char> sums(static_cast<std::int64_t>(sums_bytes));
  const device_array<double> mean(s.experts), z(1);
  print_timing(of, "router statistics", s, score_bytes + 8.0 * s.experts, timer.time([&](cudaStream_t stream) {
    rs::device_stream on;
    on.stream = stream;
    return rs::balance::device_router_statistics(on, scores, mean.data(), z.data(), {sums.data(), sums_bytes});
  }));
}

}  // namespace bench

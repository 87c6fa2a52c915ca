// SPDX-License-Identifier: Apache-2.0
// Runs a token choice on the host and on the device and demands the same bits.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/affinity/warp_affinity.cuh>
#include <resonance/token_choice/device_token_choice.cuh>
#include <resonance/token_choice/host_token_choice.hpp>
#include <simt/environment.hpp>
#include <support/assignments.hpp>
#include <support/poison.hpp>
#include <support/random.hpp>
#include <vector>

namespace choice_case {

using namespace resonance;
using support::guarded_buffer;

struct tables {
  guarded_buffer<std::int32_t> ids;
  guarded_buffer<float> weights, delta, row;

  tables(std::int64_t tokens, std::int64_t experts, std::int64_t top_k)
      : ids(static_cast<std::size_t>(tokens * top_k)),
        weights(static_cast<std::size_t>(tokens * top_k)),
        delta(static_cast<std::size_t>(tokens * top_k)),
        row(static_cast<std::size_t>(tokens * experts)) {}

  choice_buffers choice() { return {ids.data(), weights.data(), delta.data()}; }
  bool intact() const { return ids.intact() && weights.intact() && delta.intact() && row.intact(); }
};

template <class T>
::testing::AssertionResult same_bits(const guarded_buffer<T>& host, const guarded_buffer<T>& device, const char* what) {
  for (std::size_t i = 0; i < host.size(); ++i) {
    if (std::memcmp(&host[i], &device[i], sizeof(T)) == 0) continue;
    return ::testing::AssertionFailure() << what << '[' << i << "]: host " << host[i] << ", device " << device[i];
  }
  return ::testing::AssertionSuccess();
}

//! `live`: tokens given in device memory; negative = none given.
template <class Source, class Score, class Selection>
void run_on_device(const Source& source, const Score& score, const Selection& selection, const token_choice::options& o,
                   tables& out, std::int64_t live = -1) {
  support::exact_workspace space(token_choice::device_token_choice_workspace_bytes(source, score, selection, o));
  device_stream on;
  on.num_tokens = live < 0 ? nullptr : &live;
  ASSERT_TRUE(support::accepted(token_choice::device_token_choice(
      on, source, score, selection, o, out.choice(),
      matrix_view<float>(out.row.data(), source.tokens(), source.experts()), space.view())));
  EXPECT_TRUE(out.intact() && space.intact());
}

template <class Metric, class Input, class Score, class Selection>
void expect_the_hosts_bits(const Metric& metric, const Input& input, const Score& score, const Selection& selection,
                           const token_choice::options& o, std::int64_t live = -1) {
  const affinity::host_source<Metric, Input> host_source(metric, input);
  const affinity::warp_source<Metric, Input> device_source(metric, input);
  const std::int64_t tokens = host_source.tokens();
  const std::int64_t experts = host_source.experts();
  tables host(tokens, experts, o.top_k);
  tables device(tokens, experts, o.top_k);

  support::exact_workspace host_space(token_choice::host_token_choice_workspace_bytes(serial_executor{}, host_source));
  ASSERT_TRUE(support::accepted(
      token_choice::host_token_choice(serial_executor{}, host_source, score, selection, o, host.choice(),
                                      matrix_view<float>(host.row.data(), tokens, experts), host_space.view())));

  run_on_device(device_source, score, selection, o, device, live);
  if (live >= 0) {
    for (guarded_buffer<float>* table : {&host.weights, &host.delta, &host.row}) {
      const std::size_t kept = table->size() / static_cast<std::size_t>(tokens) * static_cast<std::size_t>(live);
      std::memset(table->data() + kept, guarded_buffer<float>::poison, (table->size() - kept) * sizeof(float));
    }
    const std::size_t kept = static_cast<std::size_t>(live * o.top_k);
    std::memset(host.ids.data() + kept, guarded_buffer<float>::poison, (host.ids.size() - kept) * sizeof(std::int32_t));
  }
  EXPECT_TRUE(same_bits(host.ids, device.ids, "topk_ids"));
  EXPECT_TRUE(same_bits(host.weights, device.weights, "topk_weights"));
  EXPECT_TRUE(same_bits(host.delta, device.delta, "topk_affinity"));
  EXPECT_TRUE(same_bits(host.row, device.row, "affinity"));
}

//! Logits with ties, NaN and infinities among them.
inline std::vector<float> awkward_logits(support::random_source& random, std::int64_t tokens, std::int64_t experts) {
  auto logits = support::normal_values(random, static_cast<std::size_t>(tokens * experts), 2);
  for (float& logit : logits) {
    if (random.coin(0.2)) logit = static_cast<float>(static_cast<int>(logit));
    if (random.coin(0.02)) logit = random.coin() ? HUGE_VALF : -HUGE_VALF;
    if (random.coin(0.02)) logit = std::nanf("");
  }
  return logits;
}

}  // namespace choice_case

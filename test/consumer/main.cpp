// SPDX-License-Identifier: Apache-2.0
// What every consumer project builds: routes four tokens to two experts and checks where they go.
#include <resonance/resonance.hpp>

#include <cstdint>
#include <cstdio>
#include <vector>

#if defined(RESONANCE_WRAP_NAMESPACE)
// Refused by the compiler if any header left something in ::resonance.
namespace resonance = RESONANCE_WRAP_NAMESPACE::resonance;
#endif

int main() {
  using etr = resonance::router<resonance::affinity::logits, resonance::token_choice::top_k,
                                resonance::merge::restricted, resonance::prune::fixed>;
  const std::vector<float> logits = {3, 1,   //
                                     0, 2,   //
                                     5, 4,   //
                                     4, 0};  // tokens 0, 2 and 3 want expert 0, which has room for two
  resonance::affinity::logits_input<> input;
  input.logits = {logits.data(), 4, 2};
  etr::options options;
  options.capacity.count = 2;

  std::vector<std::int32_t> kept(4), offsets(3), rows(4), inverse(4);
  std::int64_t num_rows[2] = {};
  resonance::route::outputs<> out;
  out.prune.ids = kept.data();
  out.plan.expert_offsets = offsets.data();
  out.plan.sorted_token_ids = rows.data();
  out.plan.inverse = inverse.data();
  out.plan.num_rows = num_rows;

  const resonance::serial_executor executor;
  const auto backend = resonance::on_host(executor);
  std::vector<char> workspace(etr::workspace_bytes(backend, input, options));
  const resonance::status outcome = etr::run(backend, input, options, out, {workspace.data(), workspace.size()});
  const bool right = outcome.ok() && kept == std::vector<std::int32_t>{-1, 1, 0, 0} &&
                     offsets == std::vector<std::int32_t>{0, 2, 3} &&
                     inverse == std::vector<std::int32_t>{-1, 2, 0, 1} && num_rows[0] == 3;
  std::printf("resonance %d.%d.%d: %s\n", RESONANCE_VERSION_MAJOR, RESONANCE_VERSION_MINOR, RESONANCE_VERSION_PATCH,
              right ? "ok" : "a wrong answer");
  return right ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// The same work, compiled into both translation units.
#ifndef RESONANCE_TEST_CONSUMER_ANSWER_HPP
#define RESONANCE_TEST_CONSUMER_ANSWER_HPP

#include <resonance/resonance.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

//! The bits of the weights of four tokens, by GrAP from hidden states, and their experts.
std::string compute_answer() {
  std::vector<float> x;
  for (int i = 0; i < 4 * 33; ++i) x.push_back(static_cast<float>((i * 37) % 19) - 9.0f);
  resonance::affinity::hidden_input<> input;
  input.hidden = {x.data(), 4, 33};
  input.experts = 5;
  using etr = resonance::router<resonance::affinity::grouped_average_cosine, resonance::token_choice::top_k,
                                resonance::merge::restricted, resonance::prune::affinity_mass>;
  etr::options options;
  options.choice.top_k = 2;
  std::vector<std::int32_t> ids(8);
  std::vector<float> weights(8);
  resonance::route::outputs<> out;
  out.prune.ids = ids.data();
  out.prune.weights = weights.data();
  const resonance::serial_executor executor;
  const auto backend = resonance::on_host(executor);
  std::vector<char> workspace(etr::workspace_bytes(backend, input, options));
  if (!etr::run(backend, input, options, out, {workspace.data(), workspace.size()}).ok()) return "refused";
  std::string answer;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &weights[i], sizeof bits);
    answer += std::to_string(ids[i]) + ':' + std::to_string(bits) + ' ';
  }
  return answer;
}

}  // namespace

#endif

// SPDX-License-Identifier: Apache-2.0
// Route a batch: choose a router by its policies, ask how much memory it wants, run it.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <resonance/resonance.hpp>

// Token t points to the slices of the experts t % E (mostly) and t % E + 1 (half as much).
static std::vector<float> hidden_states(std::int64_t tokens, std::int64_t hidden, std::int64_t experts) {
  std::vector<float> x(static_cast<std::size_t>(tokens * hidden));
  const std::int64_t slice = hidden / experts;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t j = 0; j < slice; ++j) {
      x[static_cast<std::size_t>(t * hidden + t % experts * slice + j)] = 2.0f;
      x[static_cast<std::size_t>(t * hidden + (t + 1) % experts * slice + j)] = 1.0f;
    }
  }
  return x;
}

int main() {
  constexpr std::int64_t tokens = 64;
  constexpr std::int64_t hidden = 32;
  constexpr std::int32_t experts = 8;
  constexpr std::int32_t top_k = 2;
  const std::vector<float> x = hidden_states(tokens, hidden, experts);

  //! [route]
  namespace rs = resonance;
  using etr = rs::router<rs::affinity::grouped_average_cosine, rs::token_choice::top_k, rs::merge::restricted,
                         rs::prune::affinity_mass>;
  etr::options options;
  options.choice.top_k = top_k;
  options.capacity.rho = 0.76;

  rs::affinity::hidden_input<float> input;  // rows may be bfloat16 or float16, too
  input.hidden = {x.data(), tokens, hidden};
  input.experts = experts;

  std::vector<float> weights(tokens * top_k);                                  // [T,K], 0 where dropped
  std::vector<std::int32_t> ids(tokens * top_k), row_of_slot(tokens * top_k);  // [T,K], -1 where dropped
  std::vector<std::int32_t> offsets(experts + 1), per_expert(experts), slots(tokens * top_k);  // slot = token * K + k
  std::int64_t num_rows[2] = {};
  rs::route::outputs<> out;
  out.prune.ids = ids.data();
  out.prune.weights = weights.data();
  out.plan = {per_expert.data(), offsets.data(), slots.data(), row_of_slot.data(), nullptr, num_rows};

  const rs::serial_executor executor;
  const auto host = rs::on_host(executor);
  std::vector<char> workspace(etr::workspace_bytes(host, input, options));
  const rs::status s = etr::run(host, input, options, out, {workspace.data(), workspace.size()});
  if (!s.ok()) std::fprintf(stderr, "%s %s\n", s.argument, s.message());
  //! [route]

  // By hand: expert i is the first choice of 8 tokens (affinity 2/sqrt 5) and the second of 8 (1/sqrt 5). Of the mass
  // 24/sqrt 5 it keeps at least 76 %, 18.24/sqrt 5: all first choices and three of the second, the earliest.
  bool right = s.ok() && num_rows[1] == experts * 11;
  for (std::size_t e = 0; right && e < experts; ++e) {
    right = per_expert[e] == 11;
    for (std::int32_t row = offsets[e]; row < offsets[e + 1]; ++row) {
      const std::int32_t slot = slots[static_cast<std::size_t>(row)];
      const std::size_t token = static_cast<std::size_t>(slot / top_k);
      const bool is_first = slot % top_k == 0 && token % experts == e;
      const bool is_early_second = slot % top_k == 1 && (token + 1) % experts == e && token < 3 * experts;
      right = right && (is_first || is_early_second) && ids[static_cast<std::size_t>(slot)] == static_cast<int>(e);
    }
  }
  std::printf("%lld of %lld choices kept: %s\n", static_cast<long long>(num_rows[1]),
              static_cast<long long>(tokens * top_k), right ? "as computed by hand" : "WRONG");
  return right ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// How often the token that an expert should learn from reaches it: ETR's Theorem 5, measured and exact.
//
// Every sample plants one such token in a batch. Token choice: it chooses its expert with probability p, the others at
// random, and experts keep the first C that come. Expert choice: each other token looks better to the expert with
// probability q, and the expert takes its C best.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <resonance/resonance.hpp>
#include <utility>
#include <vector>

namespace {

constexpr int samples = 4000;
using engine = std::mt19937_64;

//! P[Bin(n, chance) < below], summed from its terms' logarithms.
double binomial_below(std::int64_t n, double chance, std::int64_t below) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < below && k <= n; ++k) {
    const auto a = static_cast<double>(n), b = static_cast<double>(k);
    sum += std::exp(std::lgamma(a + 1) - std::lgamma(b + 1) - std::lgamma(a - b + 1) + b * std::log(chance) +
                    (a - b) * std::log1p(-chance));
  }
  return sum;
}

//! P(TCR) = p / T * sum over positions k of P[Bin(k - 1, 1 / E) < C]
double exact_token_choice(std::int64_t tokens, std::int32_t experts, double p, std::int64_t capacity) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < tokens; ++k) sum += binomial_below(k, 1.0 / experts, capacity);
  return p * sum / static_cast<double>(tokens);
}

double measured_token_choice(std::int64_t tokens, std::int32_t experts, double p, std::int64_t capacity) {
  const resonance::serial_executor executor;
  auto o = resonance::catalogue::switch_transformer();
  o.capacity.capacity_factor = static_cast<double>(capacity * experts) / static_cast<double>(tokens);
  engine random(1);
  std::uniform_int_distribution<std::int32_t> any_expert(0, experts - 1);
  std::uniform_int_distribution<std::int64_t> any_token(0, tokens - 1);
  std::vector<float> logits(static_cast<std::size_t>(tokens * experts));
  std::vector<std::int32_t> kept(static_cast<std::size_t>(tokens));
  const resonance::affinity::logits_input<> input{{logits.data(), tokens, experts}};
  resonance::route::outputs<> out;
  out.prune.ids = kept.data();
  std::vector<char> workspace(resonance::route::host_route_workspace_bytes(executor, input, o));
  int successes = 0;
  for (int sample = 0; sample < samples; ++sample) {
    std::fill(logits.begin(), logits.end(), 0.0f);
    const std::int64_t planted = any_token(random);
    const std::int32_t its_own = any_expert(random);
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::int32_t expert = any_expert(random);
      if (t == planted) {
        const bool learns = std::bernoulli_distribution(p)(random);
        expert = learns ? its_own : (its_own + 1 + expert % (experts - 1)) % experts;
      }
      logits[static_cast<std::size_t>(t * experts + expert)] = 1.0f;
    }
    if (!resonance::route::host_route(executor, input, o, out, {workspace.data(), workspace.size()}).ok()) return -1.0;
    successes += kept[static_cast<std::size_t>(planted)] == its_own ? 1 : 0;
  }
  return static_cast<double>(successes) / samples;
}

double measured_expert_choice(std::int64_t tokens, double q, std::int64_t capacity) {
  const resonance::serial_executor executor;
  resonance::expert_choice::options o;
  o.capacity = capacity;
  engine random(2);
  std::uniform_real_distribution<double> uniform;
  std::vector<float> scores(static_cast<std::size_t>(tokens));
  std::vector<std::int32_t> taken(static_cast<std::size_t>(capacity));
  resonance::expert_choice::outputs out;
  out.token_ids = taken.data();
  const resonance::matrix_view<const float> view(scores.data(), tokens, 1);
  std::vector<char> workspace(resonance::expert_choice::host_expert_choice_workspace_bytes(executor, tokens));
  int successes = 0;
  for (int sample = 0; sample < samples; ++sample) {
    for (float& score : scores) score = static_cast<float>(q - uniform(random));  // above 0 with probability q
    const auto planted = static_cast<std::int32_t>(sample % tokens);
    scores[static_cast<std::size_t>(planted)] = 0.0f;
    if (!resonance::expert_choice::host_expert_choice(executor, view, o, out, {workspace.data(), workspace.size()})
             .ok())
      return -1.0;
    for (const std::int32_t token : taken) successes += token == planted ? 1 : 0;
  }
  return static_cast<double>(successes) / samples;
}

bool report(const char* what, double measured, double exact) {
  const double error = std::sqrt(exact * (1.0 - exact) / samples);
  const bool agrees = std::abs(measured - exact) <= 4.5 * error + 1e-9;
  std::printf("%-44s measured %.4f   exact %.6g   (standard error %.4f)%s\n", what, measured, exact, error,
              agrees ? "" : "   DISAGREES");
  return agrees;
}

}  // namespace

int main() {
  bool ok = report("token choice   T=1024 E=8 p=.5  C=64", measured_token_choice(1024, 8, .5, 64),
                   exact_token_choice(1024, 8, .5, 64));
  ok = report("token choice   T=1024 E=8 p=.5  C=128", measured_token_choice(1024, 8, .5, 128),
              exact_token_choice(1024, 8, .5, 128)) &&
       ok;
  ok = report("token choice   T=512  E=8 p=.25 C=48", measured_token_choice(512, 8, .25, 48),
              exact_token_choice(512, 8, .25, 48)) &&
       ok;
  for (const auto& [q, capacity] : {std::pair{.01, 21}, {.02, 21}, {.1, 40}}) {
    char what[64];
    std::snprintf(what, sizeof what, "expert choice  T=1024 q=%.2f C=%d", q, capacity);
    ok = report(what, measured_expert_choice(1024, q, capacity), binomial_below(1023, q, capacity)) && ok;
  }
  return ok ? 0 : 1;
}

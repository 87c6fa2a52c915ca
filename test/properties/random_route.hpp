// SPDX-License-Identifier: Apache-2.0
// Random routes of a composition of policies. RESONANCE_SEED=n in the environment repeats case n alone.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "properties/expectation.hpp"
#include "support/executors.hpp"

namespace properties {

inline std::vector<std::uint64_t> seeds(std::uint64_t count) {
  if (const char* given = std::getenv("RESONANCE_SEED")) return {std::strtoull(given, nullptr, 10)};
  std::vector<std::uint64_t> all;
  for (std::uint64_t seed = 1; seed <= count; ++seed) all.push_back(seed);
  return all;
}

template <class Metric, class Selection, class Merge, class Capacity, class Score, class Order>
using composition = resonance::route::options<Metric, Selection, Merge, Capacity, Score, Order>;

inline void move_from_border(support::random_source&, ...) {}
inline void move_from_border(support::random_source& random, resonance::token_choice::top_p* policy, double* told) {
  *told = policy->p = 1e-3 + 0.998 * random.uniform();
}

//! One random case, against the reference and on a second executor.
template <class Row, class M, class S, class G, class C, class F, class O>
void check_random_route(std::uint64_t seed, const composition<M, S, G, C, F, O>&) {
  static const resonance::thread_pool pool(2);
  static const support::reverse_executor reversed(5);
  support::random_source random(seed);
  storage<Row> s;
  draw_input<M>(random, s);
  composition<M, S, G, C, F, O> options;
  told_options told = draw_options(random, s, options);
  const auto input = input_of<M>(s);
  routed r = route_all(support::serial(), input, options);
  ASSERT_TRUE(r.outcome.ok());
  const std::vector<double> bias(s.bias.begin(), s.bias.end());
  while (on_border(reference::widened(r.affinity, s.tokens, s.experts), library_scores(r, options.score), bias,
                   told.score.function, told.choice)) {
    move_from_border(random, &options.selection, &told.choice.p);
    r = route_all(support::serial(), input, options);
  }
  expect_route(r, s, options, told);
  expect_moves<Row>(r, random);
  expect_same_bits(r, route_all(seed % 2 == 0 ? any_executor(pool) : any_executor(reversed), input, options));
}

template <class Row, class Composition>
void check_random_routes(const char* name, std::uint64_t cases) {
  for (const std::uint64_t seed : seeds(cases)) {
    SCOPED_TRACE(std::string(name) + ", repeat with RESONANCE_SEED=" + std::to_string(seed));
    check_random_route<Row>(seed, Composition{});
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace properties

//! A test of many random routes of one composition; ROW is the type that the file's other tests use too.
#define RESONANCE_RANDOM_ROUTES(SUITE, NAME, ROW, ...)                                      \
  TEST(SUITE, NAME) {                                                                       \
    namespace a = resonance::affinity;                                                      \
    namespace c = resonance::token_choice;                                                  \
    namespace m = resonance::merge;                                                         \
    namespace p = resonance::prune;                                                         \
    properties::check_random_routes<ROW, properties::composition<__VA_ARGS__>>(#NAME, 600); \
  }

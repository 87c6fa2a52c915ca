// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/token_choice/host_token_choice.hpp>

#include "affinity/typed_rows.hpp"
#include "support/half.hpp"
#include "support/random.hpp"
#include "token_choice/baseline.hpp"

namespace {

namespace library = resonance;
#include "token_choice/choose_from_gate.inc"

TEST(WidestInstructionSet, ChangesNoBit) {
#if RESONANCE_DETAIL_X86_64_V3
  if (!resonance::detail::has_x86_64_v3()) GTEST_SKIP() << "this processor has no x86-64-v3: there is one build to run";
#else
  GTEST_SKIP() << "this target has no wider build";
#endif
  support::random_source random(91);
  for (std::int64_t experts : {6, 64, 257}) {
    const std::int64_t tokens = 100, hidden = 1291;
    const std::vector<std::uint16_t> x =
        support::to_bf16(support::normal_values(random, static_cast<std::size_t>(tokens * hidden)));
    const std::vector<float> gate = support::normal_values(random, static_cast<std::size_t>(experts * hidden));
    const baseline::result wide = choose_from_gate(x, gate, tokens, experts, hidden);
    const baseline::result plain = baseline::choose(x, gate, tokens, experts, hidden);
    ASSERT_EQ(wide.ids.size(), static_cast<std::size_t>(tokens * 3));
    EXPECT_EQ(wide.ids, plain.ids);
    EXPECT_TRUE(typed_rows::same_bits(wide.weights, plain.weights));
    EXPECT_TRUE(typed_rows::same_bits(wide.delta, plain.delta));
  }
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// The routers of released models against what transformers' own routers chose.
#include "resonance/catalogue/models.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "catalogue/golden.hpp"

namespace {

using namespace resonance;
using catalogue_test::expect_router;
using catalogue_test::golden;

TEST(Catalogue, Mixtral) { expect_router(golden("mixtral"), catalogue::mixtral()); }
TEST(Catalogue, Qwen3Moe) { expect_router(golden("qwen3_moe"), catalogue::qwen3_moe()); }
TEST(Catalogue, Qwen3Next) { expect_router(golden("qwen3_next"), catalogue::qwen3_next()); }
TEST(Catalogue, Olmoe) { expect_router(golden("olmoe"), catalogue::olmoe()); }
TEST(Catalogue, Dbrx) { expect_router(golden("dbrx"), catalogue::dbrx()); }
TEST(Catalogue, DeepseekV2) { expect_router(golden("deepseek_v2"), catalogue::deepseek_v2()); }
TEST(Catalogue, GptOss) { expect_router(golden("gpt_oss"), catalogue::gpt_oss()); }
TEST(Catalogue, Llama4) { expect_router(golden("llama4"), catalogue::llama4()); }

TEST(Catalogue, Phi35Moe) {
  const golden g("phimoe");
  const auto o = catalogue::phi3_5_moe();
  catalogue_test::routed chosen = catalogue_test::route_of(g.input(), o, g);
  const std::vector<float> of_the_route = chosen.weights;
  assignment_view a;
  a.tokens = g.tokens;
  a.experts = g.experts;
  a.slots_per_token = o.choice.top_k;
  a.ids = chosen.ids.data();
  ASSERT_TRUE(support::accepted(token_choice::host_sparse_mixer_weights(
      serial_executor{}, g.input().logits, a, token_choice::sparse_mixer{}, chosen.weights.data())));
  catalogue_test::expect_golden(g, chosen);
  EXPECT_NE(chosen.weights, of_the_route);
}

TEST(Catalogue, DeepseekV3) {
  const golden g("deepseek_v3");
  expect_router(g, catalogue::deepseek_v3(g.bias.data()));
}

TEST(Catalogue, KimiK2) {
  const golden g("kimi_k2");
  expect_router(g, catalogue::kimi_k2(g.bias.data()));
}

TEST(Catalogue, Glm45) {
  const golden g("glm4_moe");
  expect_router(g, catalogue::glm4_5(g.bias.data()));
}

TEST(Catalogue, MinimaxM2) {
  const golden g("minimax_m2");
  expect_router(g, catalogue::minimax_m2(g.bias.data()));
}

TEST(Catalogue, Nemotron3) {
  const golden g("nemotron_h");
  expect_router(g, catalogue::nemotron_3(g.bias.data()));
}

}  // namespace

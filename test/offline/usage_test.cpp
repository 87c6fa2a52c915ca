// SPDX-License-Identifier: Apache-2.0
#include "resonance/offline/usage.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/assignments.hpp"

namespace {

using namespace resonance;
using support::guarded_buffer;

struct measured {
  guarded_buffer<double> share, weight;
  explicit measured(std::size_t experts) : share(experts), weight(experts) {}
  bool untouched() const { return share.untouched() && weight.untouched(); }
  bool intact() const { return share.intact() && weight.intact(); }
  offline::usage_outputs outputs() { return {share.data(), weight.data()}; }
};

TEST(Usage, CountsAndWeighsLikeTheReference) {
  support::random_source random(1);
  for (const support::batch_shape& s : {support::batch_shape{0, 6, 2}, {1, 1, 1}, {33, 7, 2}, {257, 64, 8}}) {
    const support::random_choices c(random, s, {support::adversary::ties, 0.2, true});
    std::vector<double> share(c.experts(), 0.0);
    std::vector<double> weight(c.experts(), 0.0);
    for (std::size_t slot = 0; slot < c.slots(); ++slot) {
      const std::int32_t id = c.ids[slot];
      if (id < 0 || id >= s.experts) continue;
      share[static_cast<std::size_t>(id)] += 1.0 / static_cast<double>(s.tokens);
      weight[static_cast<std::size_t>(id)] += static_cast<double>(c.weights[slot]) / static_cast<double>(s.tokens);
    }
    const support::ragged_copy ragged(c.view(), false);
    for (const assignment_view& a : {c.view(), ragged.view()}) {
      SCOPED_TRACE(::testing::Message() << s << " " << a.ragged());
      measured got(c.experts());
      EXPECT_TRUE(support::accepted(offline::usage(a, got.outputs())));
      EXPECT_TRUE(got.intact());
      for (std::size_t e = 0; e < c.experts(); ++e) {
        EXPECT_NEAR(got.share[e], share[e], 1e-12);
        EXPECT_NEAR(got.weight[e], weight[e], 1e-12);
      }
    }
  }
}

TEST(Usage, EachMayBeLeftOut) {
  support::random_source random(2);
  const support::random_choices c(random, {33, 7, 2});
  measured both(7);
  measured one(7);
  EXPECT_TRUE(support::accepted(offline::usage(c.view(), both.outputs())));
  assignment_view without_weights = c.view();
  without_weights.weights = nullptr;
  EXPECT_TRUE(support::accepted(offline::usage(without_weights, {one.share.data(), nullptr})));
  EXPECT_TRUE(one.weight.untouched());
  EXPECT_TRUE(support::accepted(offline::usage(c.view(), {nullptr, one.weight.data()})));
  EXPECT_EQ(support::bits_of(one.share, one.weight), support::bits_of(both.share, both.weight));
}

TEST(UsageErrors, NameTheArgumentAndWriteNothing) {
  support::random_source random(3);
  const support::random_choices c(random, {33, 7, 2});
  measured out(7);
  assignment_view a = c.view();
  a.ids = nullptr;
  EXPECT_TRUE(support::refused(offline::usage(a, out.outputs()), status_code::null_pointer, "assignments.ids"));
  a = c.view();
  a.weights = nullptr;
  EXPECT_TRUE(support::refused(offline::usage(a, out.outputs()), status_code::null_pointer, "assignments.weights"));
  a = c.view();
  a.experts = 0;
  EXPECT_TRUE(support::refused(offline::usage(a, out.outputs()), status_code::out_of_range, "assignments.experts"));
  EXPECT_TRUE(out.untouched());
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// A route is its stages, bit for bit, for compositions that use every policy of the library at least once.
#include "resonance/route/host_route.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "route/fixture.hpp"
#include "support/executors.hpp"

namespace {

using namespace resonance;
using route_test::batch_input;
using route_test::route_arrays;
using route_test::route_shape;

template <class Row, class M, class S, class G, class C, class F, class O, class I = std::int32_t>
struct composition {
  using row = Row;
  using metric = M;
  using selection = S;
  using merge = G;
  using capacity = C;
  using index = I;
  using router = resonance::router<M, S, G, C, F, O>;
};

using compositions =
    ::testing::Types<composition<float, affinity::grouped_average_cosine, token_choice::top_k, merge::restricted,
                                 prune::affinity_mass, affinity::softmax, prune::affinity_order>,
                     composition<float, affinity::grouped_average_cosine, token_choice::top_k, merge::union_,
                                 prune::affinity_mass, affinity::softmax, prune::affinity_order>,
                     composition<float, affinity::logits, token_choice::top_k, merge::union_, prune::fixed,
                                 affinity::sigmoid, prune::slot_major, std::int64_t>,
                     composition<bfloat16, affinity::logits, token_choice::grouped_top_k, merge::token_only,
                                 prune::unlimited, affinity::sigmoid, prune::position>,
                     composition<float16, affinity::logits, token_choice::top_p, merge::restricted, prune::factor,
                                 affinity::softmax_over_chosen, prune::slot_major>,
                     composition<float16, affinity::logits, token_choice::rank_set, merge::intersection,
                                 prune::lower_bound, affinity::identity, prune::batch_prioritized, std::int64_t>,
                     composition<float, affinity::cosine, token_choice::grouped_top_k, merge::intersection,
                                 prune::per_expert, affinity::sqrt_softplus, prune::affinity_order>,
                     composition<bfloat16, affinity::dot, token_choice::top_k, merge::expert_only, prune::factor,
                                 affinity::softmax, prune::affinity_order>,
                     composition<float16, affinity::grouped_average, token_choice::top_p, merge::expert_only,
                                 prune::lower_bound, affinity::relu_softmax, prune::position>,
                     composition<bfloat16, affinity::cosine_of_logits, token_choice::top_k, merge::union_,
                                 prune::per_expert, affinity::softmax_over_chosen, prune::batch_prioritized>,
                     composition<float, affinity::logits, token_choice::rank_set, merge::expert_only,
                                 prune::affinity_mass, affinity::relu_softmax, prune::affinity_order>,
                     composition<float, affinity::cosine_of_logits, token_choice::top_k, merge::intersection,
                                 prune::unlimited, affinity::sqrt_softplus, prune::position, std::int64_t>>;

// What the options point to.
struct option_arrays {
  std::vector<float> bias;
  std::vector<std::int32_t> ranks, map;
  std::vector<std::int64_t> capacities;
};

// Variant 0 has every option at its default; the others turn them on in different mixes.
template <class Composition>
typename Composition::router::options options_of(const route_shape& s, int variant, option_arrays& arrays) {
  using selection = typename Composition::selection;
  using capacity = typename Composition::capacity;
  const std::int32_t experts = s.batch.experts;
  const std::int32_t top_k = s.batch.top_k;
  typename Composition::router::options o;
  o.choice.top_k = top_k;
  o.prune.hidden = Composition::metric::reads == affinity::operand::logits ? 64 : 0;
  for (std::int32_t e = 0; e < experts; ++e) {
    arrays.bias.push_back(0.01F * static_cast<float>(e * 7 % 5));
    arrays.map.push_back(e % 3 == 0 ? e / 3 : -1);
    arrays.capacities.push_back(e * 5 % 9);
  }
  for (std::int32_t k = 0; k < top_k; ++k)
    arrays.ranks.push_back(static_cast<std::int32_t>(std::int64_t{k} * experts / top_k));

  if constexpr (std::is_same_v<selection, token_choice::grouped_top_k>) {
    o.selection.n_group = experts % 4 == 0 ? 4 : experts;
    o.selection.topk_group = (o.selection.n_group + 1) / 2;
  } else if constexpr (std::is_same_v<selection, token_choice::top_p>) {
    o.selection.p = 0.6;
  } else if constexpr (std::is_same_v<selection, token_choice::rank_set>) {
    o.selection.ranks = arrays.ranks.data();
  }
  if constexpr (std::is_same_v<capacity, prune::fixed>) o.capacity.count = 4;
  if constexpr (std::is_same_v<capacity, prune::factor>) o.capacity.capacity_factor = 0.7;
  if constexpr (std::is_same_v<capacity, prune::affinity_mass>) o.capacity.rho = 0.6;
  if constexpr (std::is_same_v<capacity, prune::per_expert>) o.capacity.capacities = arrays.capacities.data();

  if ((variant & 1) != 0) {
    o.choice.correction_bias = arrays.bias.data();
    o.choice.renormalize = true;
    o.prune.shared = true;
    o.plan.tile_tokens = 16;
    o.expert_capacity = s.batch.tokens / 5;
  }
  if ((variant & 2) != 0) {
    o.choice.routed_scaling_factor = 2.5F;
    o.choice.missing = token_choice::missing_choice::lowest_ids;
    o.prune.capacity_cap = 6;
    o.prune.renormalize = true;
    o.plan.by_affinity = true;
    o.plan.expert_map = arrays.map.data();
    o.plan.num_local = (experts + 2) / 3;
  }
  if (variant == 3) o.plan.pad_to_capacity = 5;
  return o;
}

const std::vector<route_shape>& route_shapes() {
  static const std::vector<route_shape> shapes = {{{0, 6, 2}, 12},      {{1, 1, 1}, 1},      {{7, 13, 8}, 37},
                                                  {{33, 6, 6}, 31},     {{33, 72, 22}, 145}, {{257, 64, 8}, 257},
                                                  {{40, 128, 8}, 2880}, {{33, 288, 2}, 289}};
  return shapes;
}

template <class Composition>
class HostRoute : public ::testing::Test {};
TYPED_TEST_SUITE(HostRoute, compositions, );

TYPED_TEST(HostRoute, IsItsStagesBitForBit) {
  support::random_source random(121);
  for (const route_shape& s : route_shapes()) {
    const batch_input<typename TypeParam::row> batch(random, s);
    const auto input = batch.template of<typename TypeParam::metric>();
    for (int variant = 0; variant < 4; ++variant) {
      SCOPED_TRACE(::testing::Message() << s.batch << " H=" << s.hidden << " variant " << variant);
      option_arrays arrays;
      const auto o = options_of<TypeParam>(s, variant, arrays);
      const auto by_stages = route_test::route_by_stages<typename TypeParam::index>(
          support::any_executor(serial_executor{}), input, o, s.batch);
      support::with_every_executor([&](const auto& executor, const std::string& name) {
        SCOPED_TRACE(name);
        route_test::expect_same(
            route_test::route_all<typename TypeParam::index>(support::any_executor(executor), input, o, s.batch),
            by_stages);
      });
    }
  }
}

// Enough tokens for eight workers, whose pieces of scratch must not meet.
TYPED_TEST(HostRoute, IsTheSameOnManyWorkers) {
  support::random_source random(122);
  const route_shape s{{2100, 13, 4}, 27};
  const batch_input<typename TypeParam::row> batch(random, s);
  const auto input = batch.template of<typename TypeParam::metric>();
  option_arrays arrays;
  const auto o = options_of<TypeParam>(s, 1, arrays);
  const auto first =
      route_test::route_all<typename TypeParam::index>(support::any_executor(serial_executor{}), input, o, s.batch);
  support::with_every_executor([&](const auto& executor, const std::string& name) {
    SCOPED_TRACE(name);
    route_test::expect_same(
        route_test::route_all<typename TypeParam::index>(support::any_executor(executor), input, o, s.batch), first);
  });
}

// What the workspace held before does not matter, and a byte less than the query says is refused.
TYPED_TEST(HostRoute, NeedsItsWholeWorkspaceAndNothingInIt) {
  support::random_source random(123);
  const route_shape s{{33, 13, 4}, 27};
  const batch_input<typename TypeParam::row> batch(random, s);
  const auto input = batch.template of<typename TypeParam::metric>();
  option_arrays arrays;
  const auto o = options_of<TypeParam>(s, 3, arrays);
  using index = typename TypeParam::index;
  const serial_executor serial;
  const support::any_executor any(serial);
  const auto expected = route_test::route_all<index>(any, input, o, s.batch);
  const std::size_t bytes = route::host_route_workspace_bytes(any, input, o);
  for (int filling : {0x00, 0x7f, 0xff}) {
    std::vector<unsigned char> memory(bytes, static_cast<unsigned char>(filling));
    route_arrays<index> out(s.batch, route::host_route_slots(input, o), o.plan);
    ASSERT_TRUE(support::accepted(route::host_route(any, input, o, out.view(), {memory.data(), bytes})));
    route_test::expect_same(out, expected);
  }
  support::exact_workspace small(bytes - 1);
  route_arrays<index> out(s.batch, route::host_route_slots(input, o), o.plan);
  for (workspace_view workspace : {small.view(), workspace_view{nullptr, bytes}}) {
    EXPECT_TRUE(support::refused(route::host_route(any, input, o, out.view(), workspace),
                                 status_code::workspace_too_small, "workspace"));
  }
  EXPECT_TRUE(out.untouched() && small.untouched());
}

// Each output alone (what belongs together, together) is as in the full run, and nothing else is written.
TYPED_TEST(HostRoute, WritesWhatIsAskedForAndNothingElse) {
  using index = typename TypeParam::index;
  constexpr bool ragged = TypeParam::merge::adds_expert_choice;
  support::random_source random(124);
  const route_shape s{{33, 13, 4}, 27};
  const batch_input<typename TypeParam::row> batch(random, s);
  const auto input = batch.template of<typename TypeParam::metric>();
  option_arrays arrays;
  const auto o = options_of<TypeParam>(s, 3, arrays);
  const serial_executor serial;
  const support::any_executor executor(serial);
  const auto expected = route_test::route_all<index>(executor, input, o, s.batch).bits();

  const auto expect_only = [&](const std::vector<std::string>& wanted, const auto& ask) {
    SCOPED_TRACE(wanted.empty() ? std::string("nothing") : wanted.front());
    route_arrays<index> only(s.batch, route::host_route_slots(input, o), o.plan);
    route::outputs<index> out;
    ask(out, only.view());
    support::exact_workspace workspace(route::host_route_workspace_bytes(executor, input, o));
    ASSERT_TRUE(support::accepted(route::host_route(executor, input, o, out, workspace.view())));
    EXPECT_TRUE(workspace.intact());
    std::size_t i = 0;
    only.each([&](const char* name, const auto& array) {
      const bool asked = std::find(wanted.begin(), wanted.end(), name) != wanted.end();
      if (asked)
        EXPECT_TRUE(support::bits_of(array) == expected[i].second) << name;
      else
        EXPECT_TRUE(array.untouched()) << name;
      ++i;
    });
  };
  using outputs = route::outputs<index>;
  expect_only({}, [](outputs&, const outputs&) {});
  expect_only({"topk_ids"}, [](outputs& o1, const outputs& all) { o1.choice.topk_ids = all.choice.topk_ids; });
  expect_only({"topk_weights"},
              [](outputs& o1, const outputs& all) { o1.choice.topk_weights = all.choice.topk_weights; });
  expect_only({"topk_affinity"},
              [](outputs& o1, const outputs& all) { o1.choice.topk_affinity = all.choice.topk_affinity; });
  expect_only({"affinity"}, [](outputs& o1, const outputs& all) { o1.affinity = all.affinity; });
  if (ragged) {
    expect_only({"merged.ids", "merged.rank_in_expert", "merged.token_of_slot", "merged.weights", "merged.affinity",
                 "merged.token_offsets"},
                [](outputs& o1, const outputs& all) { o1.merged = all.merged; });
  } else {
    expect_only({"merged.rank_in_expert"},
                [](outputs& o1, const outputs& all) { o1.merged.rank_in_expert = all.merged.rank_in_expert; });
    if (TypeParam::merge::needs_expert_choice)
      expect_only({"merged.ids"}, [](outputs& o1, const outputs& all) { o1.merged.ids = all.merged.ids; });
  }
  expect_only({"prune.ids"}, [](outputs& o1, const outputs& all) { o1.prune.ids = all.prune.ids; });
  expect_only({"prune.weights"}, [](outputs& o1, const outputs& all) { o1.prune.weights = all.prune.weights; });
  expect_only({"prune.delta_max"}, [](outputs& o1, const outputs& all) { o1.prune.delta_max = all.prune.delta_max; });
  expect_only({"prune.capacities"},
              [](outputs& o1, const outputs& all) { o1.prune.capacities = all.prune.capacities; });
  expect_only({"prune.kept"}, [](outputs& o1, const outputs& all) { o1.prune.kept = all.prune.kept; });
  expect_only({"prune.dropped"}, [](outputs& o1, const outputs& all) { o1.prune.dropped = all.prune.dropped; });
  expect_only({"prune.assigned_mass"},
              [](outputs& o1, const outputs& all) { o1.prune.assigned_mass = all.prune.assigned_mass; });
  expect_only({"prune.kept_mass"}, [](outputs& o1, const outputs& all) { o1.prune.kept_mass = all.prune.kept_mass; });
  expect_only({"plan.expert_offsets", "plan.sorted_token_ids", "plan.inverse", "plan.num_rows"},
              [](outputs& o1, const outputs& all) {
                o1.plan = all.plan;
                o1.plan.tokens_per_expert = nullptr;
                o1.plan.expert_ids = nullptr;
              });
  expect_only({}, [](outputs& o1, const outputs& all) {  // no plan without its offsets
    o1.plan = all.plan;
    o1.plan.expert_offsets = nullptr;
  });
}

}  // namespace

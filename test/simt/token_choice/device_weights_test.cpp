// SPDX-License-Identifier: Apache-2.0
// Weights of given assignments on the device: the host's bits for tables and for ragged lists.
#include <resonance/token_choice/device_weights.cuh>

#include <resonance/token_choice/host_weights.hpp>

#include "choice_case.hpp"
#include "token_choice/weights_reference.hpp"

namespace {

using namespace choice_case;

template <class Score>
void expect_the_hosts_weights(const Score& score, bool renormalize) {
  support::random_source random(7);
  constexpr std::int64_t tokens = 35;
  constexpr std::int32_t experts = 40;
  constexpr std::int32_t top_k = 37;
  const auto affinity = awkward_logits(random, tokens, experts);
  std::vector<std::int32_t> ids(tokens * top_k);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.below(experts + 4)) - 2;
  std::vector<float> delta(ids.size(), 1.0f);
  delta[5] = -HUGE_VALF;
  std::vector<std::int64_t> offsets(tokens + 1, 0);
  std::vector<std::int32_t> token_of_slot;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto count = static_cast<std::int64_t>(random.below(top_k));
    offsets[static_cast<std::size_t>(t) + 1] = offsets[static_cast<std::size_t>(t)] + count;
    token_of_slot.insert(token_of_slot.end(), static_cast<std::size_t>(count), static_cast<std::int32_t>(t));
  }
  assignment_view regular;
  regular.tokens = tokens;
  regular.experts = experts;
  regular.slots_per_token = top_k;
  regular.ids = ids.data();
  regular.affinity = delta.data();
  assignment_view ragged = regular;
  ragged.slots_per_token = 0;
  ragged.token_offsets = offsets.data();
  ragged.token_of_slot = token_of_slot.data();
  ragged.slot_capacity = static_cast<std::int64_t>(ids.size());

  token_choice::options o;
  o.renormalize = renormalize;
  o.routed_scaling_factor = 1.5f;
  const matrix_view<const float> rows(affinity.data(), tokens, experts);
  for (const assignment_view& a : {regular, ragged}) {
    guarded_buffer<float> host(ids.size());
    guarded_buffer<float> device(ids.size());
    support::exact_workspace space(token_choice::host_weights_workspace_bytes(serial_executor{}, experts));
    ASSERT_TRUE(
        support::accepted(token_choice::host_weights(serial_executor{}, rows, a, score, o, host.data(), space.view())));
    ASSERT_TRUE(support::accepted(token_choice::device_weights(device_stream{}, rows, a, score, o, device.data())));
    EXPECT_TRUE(device.intact());
    EXPECT_TRUE(same_bits(host, device, "weights"));
  }
}

TEST(DeviceWeights, HasTheHostsBits) {
  for (const bool renormalize : {false, true}) {
    expect_the_hosts_weights(affinity::softmax{}, renormalize);
    expect_the_hosts_weights(affinity::sigmoid{}, renormalize);
    expect_the_hosts_weights(affinity::softmax_over_chosen{}, renormalize);
  }
}

TEST(DeviceWeights, HasTheHostsBitsUnderEverySchedule) {
  simt::under_every_schedule([] { expect_the_hosts_weights(affinity::softmax{}, false); });
}

template <class Score>
void expect_the_references_weights(const Score& score) {
  support::random_source random(8);
  const auto run = [&](const std::vector<float>& delta, assignment_view a, const token_choice::options& o) {
    a.slot_capacity = a.slots();
    guarded_buffer<float> weights(static_cast<std::size_t>(a.slots()));
    EXPECT_TRUE(support::accepted(token_choice::device_weights(
        device_stream{}, matrix_view<const float>(delta.data(), a.tokens, a.experts), a, score, o, weights.data())));
    EXPECT_TRUE(weights.intact());
    return support::values_of(weights);
  };
  for (const std::size_t tokens : {0, 1, 33, 257})
    for (const bool renormalize : {false, true})
      weights_reference::expect_reference(random, tokens, score, renormalize, run);
}

TEST(DeviceWeights, AgreeWithTheReference) {
  expect_the_references_weights(affinity::softmax{});
  expect_the_references_weights(affinity::sigmoid{});
  expect_the_references_weights(affinity::softmax_over_chosen{});
}

TEST(DeviceWeightsErrors, NameTheArgument) {
  const std::vector<float> affinity(8);
  const std::vector<std::int32_t> ids(2);
  float weight = 0;
  assignment_view a;
  a.tokens = 2;
  a.experts = 4;
  a.slots_per_token = 1;
  a.ids = ids.data();
  const auto weigh = [&](std::int64_t rows, float* weights) {
    return token_choice::device_weights(device_stream{}, matrix_view<const float>(affinity.data(), rows, 4), a,
                                        affinity::softmax{}, token_choice::options{}, weights);
  };
  EXPECT_TRUE(support::refused(weigh(1, &weight), status_code::shape_mismatch, "affinity"));
  EXPECT_TRUE(support::refused(weigh(2, nullptr), status_code::null_pointer, "weights"));
  a.ids = nullptr;
  EXPECT_TRUE(support::refused(weigh(2, &weight), status_code::null_pointer, "assignments.ids"));
}

}  // namespace

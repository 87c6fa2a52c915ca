// SPDX-License-Identifier: Apache-2.0
// SparseMixer's weights on the device: the host's bits for tables and for ragged lists, and the formula's values.
#include <resonance/token_choice/device_sparse_mixer.cuh>

#include <resonance/token_choice/host_sparse_mixer.hpp>
#include <simt/next_schedule.hpp>

#include "affinity/typed_rows.hpp"
#include "choice_case.hpp"
#include "token_choice/sparse_mixer_reference.hpp"

namespace {

using namespace choice_case;
using sparse_mixer_reference::problem;

template <class Row>
guarded_buffer<float> by_device(const matrix_view<const Row>& logits, const assignment_view& a,
                                const token_choice::sparse_mixer& o, std::int64_t live = -1) {
  guarded_buffer<float> weights(static_cast<std::size_t>(a.slots()));
  device_stream on;
  on.num_tokens = live < 0 ? nullptr : &live;
  EXPECT_TRUE(support::accepted(token_choice::device_sparse_mixer_weights(on, logits, a, o, weights.data())));
  EXPECT_TRUE(weights.intact());
  return weights;
}

template <class Row>
guarded_buffer<float> by_host(const matrix_view<const Row>& logits, const assignment_view& a,
                              const token_choice::sparse_mixer& o) {
  guarded_buffer<float> weights(static_cast<std::size_t>(a.slots()));
  EXPECT_TRUE(
      support::accepted(token_choice::host_sparse_mixer_weights(serial_executor{}, logits, a, o, weights.data())));
  return weights;
}

template <class Row>
class DeviceSparseMixer : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceSparseMixer, typed_rows::all, typed_rows::names);

TYPED_TEST(DeviceSparseMixer, HasTheHostsBitsAndTheDefinitionsValues) {
  support::random_source random(93);
  for (const std::size_t tokens : {0, 1, 35})
    for (const std::size_t experts : {1, 2, 16, 130, 1031})
      for (const bool ragged : {false, true})
        for (const float jitter : {0.0F, 0.01F, 0.3F}) {
          SCOPED_TRACE(::testing::Message()
                       << tokens << 'x' << experts << " ragged " << ragged << " jitter " << jitter);
          SCOPED_TRACE(simt::next_schedule());
          const problem<TypeParam> p(random, tokens, experts, ragged);
          const guarded_buffer<float> device = by_device(p.logits(), p.view, {jitter});
          EXPECT_TRUE(same_bits(by_host(p.logits(), p.view, {jitter}), device, "weights"));
          sparse_mixer_reference::expect_weights(p, jitter, support::values_of(device));
        }
}

//! Arbitrary logits and ids: quotients of every size, slots that are not best first, experts named twice.
TEST(DeviceSparseMixerOfAnyChoice, HasTheHostsBitsUnderEverySchedule) {
  support::random_source random(94);
  constexpr std::int64_t tokens = 19;
  constexpr std::int32_t experts = 300;
  constexpr std::int32_t top_k = 37;
  const std::vector<float> logits = awkward_logits(random, tokens, experts);
  std::vector<std::int32_t> ids(tokens * top_k);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random.below(experts + 4)) - 2;
  assignment_view a;
  a.tokens = tokens;
  a.experts = experts;
  a.slots_per_token = top_k;
  a.ids = ids.data();
  const matrix_view<const float> rows(logits.data(), tokens, experts);
  for (const float jitter : {0.01F, 2.0F}) {
    const guarded_buffer<float> host = by_host(rows, a, {jitter});
    simt::under_every_schedule([&] { EXPECT_TRUE(same_bits(host, by_device(rows, a, {jitter}), "weights")); });
  }
}

TEST(DeviceSparseMixerOfAnyChoice, LooksAtTheTokensThatThereAre) {
  support::random_source random(95);
  const problem<float> p(random, 35, 16, false);
  assignment_view there = p.view;
  for (const std::int64_t tokens : {0, 9, 35}) {
    there.tokens = tokens;
    const guarded_buffer<float> host =
        by_host(matrix_view<const float>(p.rows.data(), tokens, 16, p.stride), there, {});
    const guarded_buffer<float> device = by_device(p.logits(), p.view, {}, tokens);
    EXPECT_TRUE(same_bits(host, device, "weights"));
    EXPECT_TRUE(device.untouched(host.size(), device.size() - host.size()));
  }
}

TEST(DeviceSparseMixerErrors, NameTheArgumentAndWriteNothing) {
  const std::vector<float> logits(8);
  const std::vector<std::int32_t> ids(2);
  guarded_buffer<float> weights(2);
  assignment_view a;
  a.tokens = 2;
  a.experts = 4;
  a.slots_per_token = 1;
  a.ids = ids.data();
  const auto weigh = [&](std::int64_t rows, float jitter, float* to) {
    return token_choice::device_sparse_mixer_weights(device_stream{}, matrix_view<const float>(logits.data(), rows, 4),
                                                     a, {jitter}, to);
  };
  EXPECT_TRUE(support::refused(weigh(1, 0.01F, weights.data()), status_code::shape_mismatch, "logits"));
  EXPECT_TRUE(support::refused(weigh(2, -1.0F, weights.data()), status_code::out_of_range, "jitter"));
  EXPECT_TRUE(support::refused(weigh(2, 0.01F, nullptr), status_code::null_pointer, "weights"));
  a.ids = nullptr;
  EXPECT_TRUE(support::refused(weigh(2, 0.01F, weights.data()), status_code::null_pointer, "assignments.ids"));
  EXPECT_TRUE(weights.untouched());
}

}  // namespace

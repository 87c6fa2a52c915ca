// SPDX-License-Identifier: Apache-2.0
// cuda-smoke-balance T E K H: router statistics, Sinkhorn's bias, a quantile, the separation of tokens and their
// transitions from one choice to another, against the host backend.
#include <resonance/balance/device_balance.cuh>
#include <resonance/balance/device_delta_quantile.cuh>
#include <resonance/balance/device_sinkhorn.cuh>
#include <resonance/balance/device_transitions.cuh>
#include <resonance/balance/host_balance.hpp>
#include <resonance/balance/host_delta_quantile.hpp>
#include <resonance/balance/host_sinkhorn.hpp>
#include <resonance/balance/host_transitions.hpp>
#include <resonance/core/executor.hpp>

#include "support.hpp"

namespace {

namespace balance = resonance::balance;

void compare_statistics(smoke::comparison& comparison, const smoke::shape& shape, const std::vector<float>& logits,
                        const smoke::device_array<float>& device_logits) {
  const resonance::serial_executor executor;
  std::vector<double> expected_mean(static_cast<std::size_t>(shape.experts));
  std::vector<double> expected_z(1);
  std::vector<unsigned char> memory(
      balance::host_router_statistics_workspace_bytes(executor, shape.tokens, shape.experts));
  smoke::require(balance::host_router_statistics(
                     executor, resonance::matrix_view<const float>(logits.data(), shape.tokens, shape.experts),
                     expected_mean.data(), expected_z.data(), {memory.data(), memory.size()}),
                 "host_router_statistics");

  const smoke::device_array<double> mean(expected_mean.size());
  const smoke::device_array<double> z(1);
  const std::size_t bytes = balance::device_router_statistics_workspace_bytes(shape.tokens, shape.experts);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_router_statistics", [&](const resonance::device_stream& on) {
    return balance::device_router_statistics(
        on, resonance::matrix_view<const float>(device_logits.data(), shape.tokens, shape.experts), mean.data(),
        z.data(), {workspace.data(), bytes});
  });
  comparison.same("mean_probability", expected_mean, mean.to_host());
  comparison.same("z_loss", expected_z, z.to_host());
}

void compare_sinkhorn(smoke::comparison& comparison, const smoke::shape& shape, const std::vector<float>& logits,
                      const smoke::device_array<float>& device_logits) {
  const resonance::serial_executor executor;
  balance::sinkhorn_options options;
  options.iterations = 3;
  std::vector<float> expected(static_cast<std::size_t>(shape.experts));
  std::vector<unsigned char> memory(balance::host_sinkhorn_workspace_bytes(executor, shape.tokens, shape.experts));
  smoke::require(
      balance::host_sinkhorn(executor, resonance::matrix_view<const float>(logits.data(), shape.tokens, shape.experts),
                             options, expected.data(), {memory.data(), memory.size()}),
      "host_sinkhorn");
  const smoke::device_array<float> found(expected.size());
  const std::size_t bytes = balance::device_sinkhorn_workspace_bytes(shape.tokens, shape.experts);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_sinkhorn", [&](const resonance::device_stream& on) {
    return balance::device_sinkhorn(
        on, resonance::matrix_view<const float>(device_logits.data(), shape.tokens, shape.experts), options,
        found.data(), {workspace.data(), bytes});
  });
  comparison.same("correction_bias", expected, found.to_host());
}

void compare_quantile(smoke::comparison& comparison, const smoke::shape& shape, const std::vector<float>& affinity,
                      const smoke::device_array<float>& device_affinity) {
  const resonance::serial_executor executor;
  const auto table = [&](const float* data) {
    return resonance::matrix_view<const float>(data, shape.tokens, shape.experts);
  };
  std::vector<float> expected(1);
  std::vector<unsigned char> memory(balance::host_delta_quantile_workspace_bytes(shape.tokens, shape.experts));
  smoke::require(balance::host_delta_quantile(executor, table(affinity.data()), 0.9, expected.data(),
                                              {memory.data(), memory.size()}),
                 "host_delta_quantile");
  const smoke::device_array<float> found(1);
  comparison.run("device_delta_quantile", [&](const resonance::device_stream& on) {
    return balance::device_delta_quantile(on, table(device_affinity.data()), 0.9, found.data());
  });
  comparison.same("quantile", expected, found.to_host());
}

//! Ids [T,K], some of them unassigned.
std::vector<std::int32_t> random_ids(smoke::generator& numbers, const smoke::shape& shape) {
  std::vector<std::int32_t> ids;
  for (std::int64_t slot = 0; slot < shape.tokens * shape.top_k; ++slot)
    ids.push_back(static_cast<std::int32_t>(numbers.below(shape.experts + 1)) - 1);
  return ids;
}

resonance::assignment_view assignments(const std::int32_t* ids, const smoke::shape& shape) {
  resonance::assignment_view a;
  a.tokens = shape.tokens;
  a.experts = shape.experts;
  a.slots_per_token = shape.top_k;
  a.ids = ids;
  return a;
}

void compare_separation(smoke::comparison& comparison, const smoke::shape& shape, smoke::generator& numbers) {
  const std::vector<float> x = smoke::random_values(numbers, shape.tokens * shape.hidden);
  const std::vector<std::int32_t> ids = random_ids(numbers, shape);
  const smoke::device_array<float> device_x(x);
  const smoke::device_array<std::int32_t> device_ids(ids);

  const resonance::assignment_view on_host = assignments(ids.data(), shape);
  const resonance::assignment_view on_device = assignments(device_ids.data(), shape);
  std::vector<double> expected(1);
  std::vector<unsigned char> memory(balance::host_calinski_harabasz_workspace_bytes(shape.hidden, shape.experts));
  smoke::require(
      balance::host_calinski_harabasz(resonance::serial_executor{},
                                      resonance::matrix_view<const float>(x.data(), shape.tokens, shape.hidden),
                                      on_host, expected.data(), {memory.data(), memory.size()}),
      "host_calinski_harabasz");

  const smoke::device_array<double> ratio(1);
  const std::size_t bytes = balance::device_calinski_harabasz_workspace_bytes(shape.hidden, shape.experts);
  const smoke::device_array<unsigned char> workspace(bytes);
  comparison.run("device_calinski_harabasz", [&](const resonance::device_stream& on) {
    return balance::device_calinski_harabasz(
        on, resonance::matrix_view<const float>(device_x.data(), shape.tokens, shape.hidden), on_device, ratio.data(),
        {workspace.data(), bytes});
  });
  comparison.same("calinski_harabasz", expected, ratio.to_host());
}

void compare_transitions(smoke::comparison& comparison, const smoke::shape& shape, smoke::generator& numbers) {
  const std::vector<std::int32_t> from = random_ids(numbers, shape);
  const std::vector<std::int32_t> to = random_ids(numbers, shape);
  const smoke::device_array<std::int32_t> device_from(from);
  const smoke::device_array<std::int32_t> device_to(to);
  const auto table = [&](std::int64_t* data) {
    return resonance::matrix_view<std::int64_t>(data, shape.experts, shape.experts);
  };
  std::vector<std::int64_t> expected(static_cast<std::size_t>(shape.experts * shape.experts));
  smoke::require(balance::host_transition_counts(resonance::serial_executor{}, assignments(from.data(), shape),
                                                 assignments(to.data(), shape), table(expected.data())),
                 "host_transition_counts");
  const smoke::device_array<std::int64_t> found(expected.size());
  comparison.run("device_transition_counts", [&](const resonance::device_stream& on) {
    return balance::device_transition_counts(on, assignments(device_from.data(), shape),
                                             assignments(device_to.data(), shape), table(found.data()));
  });
  comparison.same("transitions", expected, found.to_host());
}

}  // namespace

int main(int count, char** values) {
  const smoke::shape shape = smoke::parse(count, values, {40, 72, 2, 40});
  smoke::require(shape.experts >= 1 && shape.top_k >= 1, "E and K are 1 at least");
  smoke::generator numbers;
  const std::vector<float> logits = smoke::random_values(numbers, shape.tokens * shape.experts);
  smoke::comparison comparison("balance");
  const smoke::device_array<float> device_logits(logits);
  compare_statistics(comparison, shape, logits, device_logits);
  compare_sinkhorn(comparison, shape, logits, device_logits);
  compare_quantile(comparison, shape, logits, device_logits);
  compare_separation(comparison, shape, numbers);
  compare_transitions(comparison, shape, numbers);
  return comparison.finish();
}

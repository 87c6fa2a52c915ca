// SPDX-License-Identifier: Apache-2.0
//! \file
//! A quantile of a batch's affinities on the device.
#ifndef RESONANCE_BALANCE_DEVICE_DELTA_QUANTILE_CUH
#define RESONANCE_BALANCE_DEVICE_DELTA_QUANTILE_CUH

#include <resonance/balance/delta_quantile.hpp>
#include <resonance/balance/kernel_delta_quantile.cuh>
#include <resonance/config.hpp>
#include <resonance/core/launch.cuh>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace balance {
RESONANCE_ARCH_NAMESPACE_BEGIN

//! Finds the q-quantile of what the tokens chose: a delta_max that one outlier does not move (reading D3 of ETR's
//! bound), or, of ratios of weights, the mu of prune::weight_ratio.
//!
//! Equation   the ceil(q n)-th least of the n values that are there, the least for q = 0 (nearest rank)
//! Inputs     affinity float[T,K] strided, in device memory; NaN and -inf are absent
//! Outputs    quantile float[1], -inf where no value is there; prune::options.delta_max may point to it
//! Contract   same bits as host_delta_quantile, over the tokens that there are
//! Errors     null_pointer (affinity, quantile), out_of_range (affinity, q outside [0,1]), index_overflow (affinity:
//!            2^32 values), launch_failed
//! Resources  1 launch, of one block; no workspace
//! Cost       some three sweeps over T*K values: meant for thousands of tokens, not for millions
//! Example    test/simt/balance/device_delta_quantile_test.cpp
inline status device_delta_quantile(const device_stream& on, matrix_view<const float> affinity, double q,
                                    float* quantile) {
  constexpr int threads = 512;
  constexpr std::int64_t most_values = 0xffffffff;
  const status checked = detail::checks{}
                             .also(detail::check_delta_quantile(affinity, q, quantile))
                             .fits(affinity.rows == 0 || affinity.cols <= most_values / affinity.rows, "affinity")
                             .result();
  if (!checked.ok()) return checked;
  return detail::launch(on, {1, threads, 0}, kernel_delta_quantile<threads>, affinity, q, on.num_tokens, quantile);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace balance
RESONANCE_NAMESPACE_END

#endif

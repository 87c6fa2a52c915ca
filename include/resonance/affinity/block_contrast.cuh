// SPDX-License-Identifier: Apache-2.0
//! \file
//! The contrast of two rows of logits, by the threads of a block.
#ifndef RESONANCE_AFFINITY_BLOCK_CONTRAST_CUH
#define RESONANCE_AFFINITY_BLOCK_CONTRAST_CUH

#include <resonance/affinity/contrast.hpp>
#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/math.hpp>
#include <resonance/core/order_key.hpp>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>

RESONANCE_NAMESPACE_BEGIN
namespace affinity {

//! Contrasts one row of strong logits with one of weak ones.
//!
//! Threads    all of the team: a block, or a warp
//! Inputs     strong, weak Row[count]; aligned: four elements at a multiple of four may be moved at once, in all three
//! Outputs    out float[count]
//! Contract   the bits of host_contrast_logits
//! Cost       strong is read twice, the second time from cache
//! Example    test/simt/affinity/device_contrast_test.cpp
template <class Team, class Row>
RESONANCE_DEVICE void block_contrast(const Team& team, const contrast_options& o, const Row* strong, const Row* weak,
                                     std::int64_t count, bool aligned, float* out) {
  const auto choosable = [](float value) { return choosable_score(value, row_traits<Row>::largest); };
  float largest = math::negative_infinity();
  load_row(team, strong, count, [&](std::int64_t, float value) {
    const float logit = choosable(value);
    largest = logit > largest ? logit : largest;
  });
  const detail::contrast_row row(o, team.max(largest));
  for (std::int64_t j = std::int64_t{4} * team.rank(); j < count; j += std::int64_t{4} * team.size()) {
    float of_strong[4];
    float of_weak[4];
    load_four(strong, j, count, aligned, of_strong);
    load_four(weak, j, count, aligned, of_weak);
    float contrast[4];
    RESONANCE_UNROLL
    for (int i = 0; i < 4; ++i) contrast[i] = row.at(choosable(of_strong[i]), choosable(of_weak[i]));
    store_four(out, j, count, aligned, contrast);
  }
}

}  // namespace affinity
RESONANCE_NAMESPACE_END

#endif

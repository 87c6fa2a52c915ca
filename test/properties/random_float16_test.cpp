// SPDX-License-Identifier: Apache-2.0
// Random routes of float16 rows; across the three files of this kind every policy meets every other stage.
#include "properties/random_route.hpp"

namespace {

RESONANCE_RANDOM_ROUTES(RandomFloat16, LogitsRanksFactor, resonance::float16, a::logits, c::rank_set, m::restricted,
                        p::factor, a::softmax, p::slot_major)
RESONANCE_RANDOM_ROUTES(RandomFloat16, GrapGroupedExpertOnly, resonance::float16, a::grouped_average_cosine,
                        c::grouped_top_k, m::expert_only, p::fixed, a::sqrt_softplus, p::batch_prioritized)
RESONANCE_RANDOM_ROUTES(RandomFloat16, LogitsTopPUnion, resonance::float16, a::logits, c::top_p, m::union_,
                        p::lower_bound, a::relu_softmax, p::position)
RESONANCE_RANDOM_ROUTES(RandomFloat16, DotChosenMass, resonance::float16, a::dot, c::top_k, m::token_only,
                        p::affinity_mass, a::softmax_over_chosen, p::position)
RESONANCE_RANDOM_ROUTES(RandomFloat16, CosineLogitsIntersection, resonance::float16, a::cosine_of_logits, c::top_k,
                        m::intersection, p::per_expert, a::identity, p::slot_major_prioritized)
RESONANCE_RANDOM_ROUTES(RandomFloat16, CosineGroupedUnion, resonance::float16, a::cosine, c::grouped_top_k, m::union_,
                        p::unlimited, a::softmax, p::affinity_order)
RESONANCE_RANDOM_ROUTES(RandomFloat16, MeansTopPMass, resonance::float16, a::grouped_average, c::top_p, m::restricted,
                        p::affinity_mass, a::sigmoid, p::affinity_order)
RESONANCE_RANDOM_ROUTES(RandomFloat16, LogitsIntersectionMass, resonance::float16, a::logits, c::top_k, m::intersection,
                        p::affinity_mass, a::sigmoid, p::slot_major)
RESONANCE_RANDOM_ROUTES(RandomFloat16, LogitsThresholdRestricted, resonance::float16, a::logits, c::threshold,
                        m::restricted, p::fixed, a::sigmoid, p::position)

}  // namespace

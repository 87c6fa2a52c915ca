// SPDX-License-Identifier: Apache-2.0
// Random routes of bfloat16 rows; across the three files of this kind every policy meets every other stage.
#include "properties/random_route.hpp"

namespace {

RESONANCE_RANDOM_ROUTES(RandomBfloat16, LogitsGroupedUnion, resonance::bfloat16, a::logits, c::grouped_top_k, m::union_,
                        p::fixed, a::sigmoid, p::position)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, GrapTopPBound, resonance::bfloat16, a::grouped_average_cosine, c::top_p,
                        m::restricted, p::lower_bound, a::softmax_over_chosen, p::batch_prioritized)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, DotRanksIntersection, resonance::bfloat16, a::dot, c::rank_set, m::intersection,
                        p::affinity_mass, a::relu_softmax, p::slot_major)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, LogitsTopPMass, resonance::bfloat16, a::logits, c::top_p, m::token_only,
                        p::affinity_mass, a::sqrt_softplus, p::affinity_order)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, CosineExpertOnly, resonance::bfloat16, a::cosine, c::top_k, m::expert_only,
                        p::factor, a::identity, p::slot_major)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, CosineLogitsGrouped, resonance::bfloat16, a::cosine_of_logits, c::grouped_top_k,
                        m::restricted, p::per_expert, a::softmax, p::position)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, MeansRanksUnion, resonance::bfloat16, a::grouped_average, c::rank_set,
                        m::union_, p::per_expert, a::softmax_over_chosen, p::affinity_order)
RESONANCE_RANDOM_ROUTES(RandomBfloat16, LogitsReluDropless, resonance::bfloat16, a::logits, c::top_k, m::restricted,
                        p::unlimited, a::relu_softmax, p::batch_prioritized)

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// Random routes of float rows; across the three files of this kind every policy meets every other stage.
#include "properties/random_route.hpp"

namespace {

RESONANCE_RANDOM_ROUTES(RandomFloat, PaperRouter, float, a::grouped_average_cosine, c::top_k, m::restricted,
                        p::affinity_mass, a::softmax, p::affinity_order)
RESONANCE_RANDOM_ROUTES(RandomFloat, DotGroupedFactor, float, a::dot, c::grouped_top_k, m::restricted, p::factor,
                        a::sigmoid, p::slot_major)
RESONANCE_RANDOM_ROUTES(RandomFloat, CosineTopPIntersection, float, a::cosine, c::top_p, m::intersection, p::fixed,
                        a::softmax_over_chosen, p::position)
RESONANCE_RANDOM_ROUTES(RandomFloat, LogitsRanksUnion, float, a::logits, c::rank_set, m::union_, p::unlimited,
                        a::identity, p::batch_prioritized)
RESONANCE_RANDOM_ROUTES(RandomFloat, LogitsExpertOnly, float, a::logits, c::top_k, m::expert_only, p::lower_bound,
                        a::relu_softmax, p::affinity_order)
RESONANCE_RANDOM_ROUTES(RandomFloat, MeansGroupedTokenOnly, float, a::grouped_average, c::grouped_top_k, m::token_only,
                        p::per_expert, a::sqrt_softplus, p::batch_prioritized)
RESONANCE_RANDOM_ROUTES(RandomFloat, CosineLogitsUnion, float, a::cosine_of_logits, c::top_p, m::union_,
                        p::affinity_mass, a::softmax, p::slot_major)
RESONANCE_RANDOM_ROUTES(RandomFloat, LogitsGroupedIntersection, float, a::logits, c::grouped_top_k, m::intersection,
                        p::lower_bound, a::softmax, p::affinity_order)

}  // namespace

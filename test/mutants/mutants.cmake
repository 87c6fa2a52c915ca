# SPDX-License-Identifier: Apache-2.0
# The table of the mutants: one fault each, and the check that has to catch it.
#
# resonance_mutant(NAME PROGRAM source... BY check [SANITIZER address|thread] [DEFINE macro] [FILTER pattern]
#                  [FILE header FIND text REPLACE text])
#   PROGRAM    the sources of a test program, relative to test/
#   BY         report   the executor reports it
#              value    a test fails, or the program says "wrong result"
#              address  the address or the undefined behaviour sanitizer stops it
#              race     the thread sanitizer finds a data race
#   SANITIZER  what the program is compiled with; none: plain
#   DEFINE     a macro of the program that switches the fault on
#   FILTER     which GoogleTest cases run
#   FILE       a header, relative to include/resonance/, in a copy of which FIND, there exactly once, becomes REPLACE

# Faults in a kernel made for it: that the checks see what they are there for.
set(synthetic PROGRAM mutants/synthetic.cpp)
resonance_mutant(missing_barrier ${synthetic} DEFINE MUTANT=1 SANITIZER thread BY race)
resonance_mutant(missing_barrier_plain ${synthetic} DEFINE MUTANT=1 BY value)
resonance_mutant(off_by_one_in_shared ${synthetic} DEFINE MUTANT=2 SANITIZER address BY address)
resonance_mutant(off_by_one_in_shared_plain ${synthetic} DEFINE MUTANT=2 BY report)
resonance_mutant(non_atomic_update ${synthetic} DEFINE MUTANT=3 SANITIZER thread BY race)
resonance_mutant(divergent_barrier ${synthetic} DEFINE MUTANT=4 BY report)
resonance_mutant(cross_block_race ${synthetic} DEFINE MUTANT=5 SANITIZER thread BY race)
resonance_mutant(wrong_mask ${synthetic} DEFINE MUTANT=6 BY report)
resonance_mutant(past_the_array ${synthetic} DEFINE MUTANT=7 SANITIZER address BY address)
resonance_mutant(missing_syncwarp ${synthetic} DEFINE MUTANT=8 SANITIZER thread BY race)
resonance_mutant(missing_barrier_before_reuse ${synthetic} DEFINE MUTANT=9 SANITIZER thread BY race)
resonance_mutant(missing_fence ${synthetic} DEFINE MUTANT=10 SANITIZER thread BY race)
resonance_mutant(missing_fence_of_the_reader ${synthetic} DEFINE MUTANT=12 SANITIZER thread BY race)
resonance_mutant(early_return ${synthetic} DEFINE MUTANT=11 BY report)
resonance_mutant(slow_thread_at_barrier PROGRAM mutants/slow_threads.cpp DEFINE MUTANT=1 SANITIZER thread BY race)
resonance_mutant(slow_lane_at_syncwarp PROGRAM mutants/slow_threads.cpp DEFINE MUTANT=2 SANITIZER thread BY race)

# Faults in the library's own kernels: what they all use, then stage by stage. What gives wrong values under no schedule
# is left to the thread sanitizer.
set(rank PROGRAM simt/core/block_rank_test.cpp)
set(select PROGRAM simt/core/block_select_test.cpp)
set(collectives FILE core/collectives.cuh)
resonance_mutant(core_block_scan_barrier ${rank} SANITIZER thread BY race ${collectives}
                 FIND "sync_block(site);\n    T below = 0;" REPLACE "T below = 0;")
resonance_mutant(core_block_scan_reuse ${rank} SANITIZER thread BY race ${collectives}
                 FIND "sync_block(site);\n    return below" REPLACE "return below")
resonance_mutant(core_warp_shuffle_mask ${select} BY report ${collectives}
                 FIND "return __shfl_up_sync(mask()," REPLACE "return __shfl_up_sync(mask() >> 1,")
set(steps PROGRAM simt/core/ordered_steps_test.cpp SANITIZER thread BY race FILE core/ordered_steps.cuh)
resonance_mutant(core_step_not_awaited ${steps} FIND "if (before != 0) wait_for(before);" REPLACE "")
resonance_mutant(core_step_done_too_early ${steps} FIND "body(item_ - before);\n    sync_block();"
                 REPLACE "body(item_ - before);")
resonance_mutant(core_grouping_reuses_its_counters PROGRAM simt/core/device_group_test.cpp SANITIZER thread BY race
                 FILTER DeviceExpertLists.DoNotDependOnTheSchedule FILE core/block_group.cuh
                 FIND "placement.all(places, all_held);\n    sync_block();" REPLACE "placement.all(places, all_held);")

resonance_mutant(affinity_chunk_not_awaited PROGRAM simt/affinity/device_affinity_test.cpp BY value
                 FILTER DeviceAffinity.HasTheHostsBitsForBfloat16 FILE affinity/warp_affinity.cuh
                 FIND "warp.sync();\n      const auto column" REPLACE "const auto column")
resonance_mutant(affinity_residual_of_the_first_token PROGRAM simt/affinity/residual_logits_test.cpp BY value
                 FILTER DeviceResidualLogits/float32.HaveTheHostsBits FILE affinity/warp_residual_logits.cuh
                 FIND "input_.logits.row(first + t)" REPLACE "input_.logits.row(first)")

resonance_mutant(affinity_contrast_of_a_warps_largest PROGRAM simt/affinity/device_contrast_test.cpp BY value
                 FILTER DeviceContrast/0.HasTheHostsBits FILE affinity/block_contrast.cuh
                 FIND "team.max(largest)" REPLACE "warp_team{}.max(largest)")

resonance_mutant(affinity_blend_of_any_sequence PROGRAM simt/affinity/device_blend_test.cpp SANITIZER address
                 BY address FILTER DeviceBlend.HasTheHostsBits FILE affinity/blend.hpp
                 FIND "sequence >= 0 && " REPLACE "")

set(choice PROGRAM simt/token_choice/device_token_choice_test.cpp)
resonance_mutant(token_choice_weights_added_backward ${choice} BY value
                 FILTER DeviceTokenChoice.HasTheHostsBitsForEveryShape FILE token_choice/warp_token_choice.cuh
                 FIND "sum += tile.shuffle(slots[turn].numerator, r)"
                 REPLACE "sum += tile.shuffle(slots[turn].numerator, Size - 1 - r)")
resonance_mutant(token_choice_tile_mask ${choice} BY report FILTER DeviceTokenChoice.HasTheHostsBitsForEveryShape
                 ${collectives} FIND "<< (lane_id() / Size * Size)" REPLACE "<< (lane_id() % Size)")
resonance_mutant(token_choice_block_barrier ${choice} SANITIZER thread BY race
                 FILTER DeviceTokenChoice.HasTheHostsBitsUnderEverySchedule FILE token_choice/block_token_choice.cuh
                 FIND "team_.sync();\n    float sum = 0.0f;" REPLACE "float sum = 0.0f;")

resonance_mutant(token_choice_filled_slot_is_weighed PROGRAM simt/token_choice/device_sparse_mixer_test.cpp BY value
                 FILTER DeviceSparseMixer/float32.HasTheHostsBitsAndTheDefinitionsValues
                 FILE token_choice/warp_sparse_mixer.cuh
                 FIND "a.is_expert(id) && !filled" REPLACE "a.is_expert(id)")

resonance_mutant(expert_choice_place_without_atomic PROGRAM simt/expert_choice/device_expert_choice_test.cpp
                 SANITIZER thread BY race FILTER DeviceExpertChoice.TakesTheSameUnderEverySchedule
                 FILE expert_choice/block_expert_choice.cuh
                 FIND "atomic_add(&s.filled[column], 1u)" REPLACE "s.filled[column]++")
resonance_mutant(expert_choice_one_counter_too_many PROGRAM simt/expert_choice/device_expert_choice_test.cpp
                 SANITIZER address BY address FILTER DeviceExpertChoice.TakesTheSameUnderEverySchedule
                 FILE expert_choice/block_expert_choice.cuh
                 FIND "c < columns_per_block; c += block_threads()) s.filled[c]"
                 REPLACE "c <= columns_per_block; c += block_threads()) s.filled[c]")

resonance_mutant(merge_ties_to_the_later_token PROGRAM simt/merge/device_merge_test.cpp BY value
                 FILTER DeviceMerge.AgreesWithTheHostOnManyShapes FILE merge/block_merge.cuh
                 FIND "+ expert), token, thresholds" REPLACE "+ expert), token + 1, thresholds")
resonance_mutant(merge_offset_read_after_it_moved PROGRAM simt/merge/device_merge_test.cpp SANITIZER thread BY race
                 FILTER DeviceMerge.DoesNotDependOnTheSchedule FILE merge/block_merge.cuh
                 FIND "warp_team::sync();\n    if (lane_id() == 0) store(out.token_offsets"
                 REPLACE "if (lane_id() == 0) store(out.token_offsets")

resonance_mutant(token_choice_biased_past_the_threshold PROGRAM
                 simt/token_choice/device_token_choice_policies_test.cpp BY value
                 FILTER DeviceTokenChoicePolicies.Threshold FILE token_choice/row_rules.cuh
                 FIND "is_candidate(selection.policy, delta) ? order_key(score_and_bias) : never_chosen"
                 REPLACE "order_key(score_and_bias)")

resonance_mutant(prune_keeps_one_too_many PROGRAM simt/prune/device_prune_test.cpp BY value
                 FILTER DevicePrune.OneExpertMayHoldAllAssignments FILE prune/block_prune.cuh
                 FIND "decide(slot, rank >= 0 && rank < limit)" REPLACE "decide(slot, rank >= 0 && rank <= limit)")
resonance_mutant(prune_places_start_anew PROGRAM simt/prune/device_prune_reference_test.cpp BY value
                 FILTER DevicePruneReference.AgreesOnEveryKindOfAffinity FILE prune/block_prune.cuh
                 FIND "before + rank < limit" REPLACE "rank < limit")
resonance_mutant(prune_choices_counts_one_block_only PROGRAM simt/prune/device_prune_choices_test.cpp BY value
                 FILTER DevicePruneChoices.HasTheHostsBits FILE prune/kernel_prune_choices.cuh
                 FIND "i < blocks; i += Threads" REPLACE "i < 1; i += Threads")
resonance_mutant(prune_importance_of_earlier_queries PROGRAM simt/prune/device_token_importance_test.cpp BY value
                 FILTER DeviceTokenImportance/0.HasTheHostsBits FILE prune/warp_token_importance.cuh
                 FIND "query = key > first ? key : first" REPLACE "query = first")

set(group PROGRAM simt/core/device_group_test.cpp FILE core/block_group.cuh)
resonance_mutant(group_equal_experts_backward ${group} BY value
                 FIND "count_bits(peers & lanes_below(lane_id())))) << 16"
                 REPLACE "count_bits(peers & ~lanes_below(lane_id())) - 1)) << 16")
resonance_mutant(group_counters_not_awaited ${group} SANITIZER thread BY race
                 FILTER DeviceExpertLists.DoNotDependOnTheSchedule
                 FIND "warp_team::sync();\n      slots_[i] |= (" REPLACE "slots_[i] |= (")
resonance_mutant(plan_counts_of_one_tile_only PROGRAM simt/plan/device_plan_test.cpp BY value
                 FILTER DevicePlan/0.DoesNotDependOnTheSchedule FILE core/block_group.cuh
                 FIND "atomic_add(scratch.ends + e, all)" REPLACE "scratch.ends[e] = all")

resonance_mutant(permute_one_packet_too_many PROGRAM simt/permute/device_permute_test.cpp BY value
                 FILTER DevicePermute/0.MovesTheHostsBytes FILE permute/warp_permute.cuh
                 FIND "if (first + i * warp_size < x.cols) store("
                 REPLACE "if (first + i * warp_size <= x.cols) store(")
resonance_mutant(unpermute_adds_backward PROGRAM simt/permute/device_unpermute_test.cpp BY value
                 FILTER DeviceUnpermute/0.HasTheHostsBits FILE permute/warp_unpermute.cuh
                 FIND "for (int k = 0; k < count; k += at_once) {"
                 REPLACE "for (int k = (count - 1) / at_once * at_once; k >= 0; k -= at_once) {")
resonance_mutant(unpermute_constants_before_inputs PROGRAM simt/permute/in_place_experts_test.cpp BY value
                 FILTER DeviceInPlaceExperts/0.HaveTheHostsBits FILE permute/warp_unpermute.cuh
                 FIND "lane_id() / per_slot, lane_id() % per_slot"
                 REPLACE "lane_id() / per_slot, per_slot - 1 - lane_id() % per_slot")
resonance_mutant(unpermute_entry_of_no_constant PROGRAM simt/permute/in_place_experts_test.cpp
                 SANITIZER address BY address FILTER DeviceInPlaceExperts/0.PassOverWhatIsNotThere
                 FILE permute/warp_unpermute.cuh
                 FIND "if (entry >= in_place::copy || n >= experts.constants.rows)"
                 REPLACE "if (entry >= in_place::copy)")

resonance_mutant(balance_probabilities_not_awaited PROGRAM simt/balance/device_balance_test.cpp BY value
                 FILTER DeviceBalanceOfTokens.IsTheSameUnderEverySchedule FILE balance/block_balance.cuh
                 FIND "sync_block();\n    for (std::int64_t e = block_thread(); e <= experts;"
                 REPLACE "for (std::int64_t e = block_thread(); e <= experts;")
resonance_mutant(balance_quantile_one_rank_too_high PROGRAM simt/balance/device_delta_quantile_test.cpp BY value
                 FILTER DeviceDeltaQuantile.HasTheHostsBits FILE balance/block_delta_quantile.cuh
                 FIND "quantile_rank(q, count) + 1)" REPLACE "quantile_rank(q, count))")

resonance_mutant(balance_sinkhorn_forgets_its_bias PROGRAM simt/balance/device_sinkhorn_test.cpp BY value
                 FILTER DeviceSinkhorn/0.IsTheHosts FILE balance/kernel_balance.cuh
                 FIND "sinkhorn_step(start != nullptr ? load(start + e) : 0.0f, mean, experts)"
                 REPLACE "sinkhorn_step(0.0f, mean, experts)")
resonance_mutant(balance_transitions_without_atomic PROGRAM simt/balance/device_transitions_test.cpp SANITIZER thread
                 BY race FILTER DeviceTransitions.AreTheSameUnderEverySchedule FILE balance/block_transitions.cuh
                 FIND "atomic_add(counters + b, 1ull)" REPLACE "counters[b] += 1ull")

resonance_mutant(route_skips_a_token_per_turn PROGRAM simt/route/device_route_unpruned_test.cpp BY value
                 FILTER DeviceRouteUnpruned.ThePlanAloneTakesTwoLaunches FILE route/kernel_route_steps.cuh
                 FIND "first += rows::tokens_per_turn(by.warps)"
                 REPLACE "first += rows::tokens_per_turn(by.warps) + 1")
resonance_mutant(route_plans_what_was_dropped PROGRAM simt/route/device_route_stepped_test.cpp BY value
                 FILTER DeviceRouteStepped.IntersectionWithAGivenCapacityAndRowsByAffinity
                 FILE route/device_stepped.cuh
                 FIND "plan_experts(t_, p.assignments, t_.pruned.ids)"
                 REPLACE "plan_experts(t_, p.assignments, p.assignments.ids)")

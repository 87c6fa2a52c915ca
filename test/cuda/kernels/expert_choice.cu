// SPDX-License-Identifier: Apache-2.0
// low occupancy: kernel_choose_candidates: a block per expert, keys sorted in shared memory; seldom fills the card
// low occupancy: kernel_choose_tokens: eight columns staged in shared memory: the table is read once
#include <resonance/expert_choice/kernel_expert_choice.cuh>

#include "built.hpp"

namespace expert_choice = resonance::expert_choice;

RESONANCE_BUILT(expert_choice::kernel_choose_tokens<resonance::column_threads>);
RESONANCE_BUILT(expert_choice::kernel_write_best<256>);
RESONANCE_BUILT(expert_choice::kernel_choose_candidates<256>);

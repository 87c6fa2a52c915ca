// SPDX-License-Identifier: Apache-2.0
#include <resonance/expert_choice/kernel_expert_choice.cuh>

#include "built.hpp"

namespace expert_choice = resonance::expert_choice;

RESONANCE_BUILT(expert_choice::kernel_choose_tokens<resonance::column_threads>);
RESONANCE_BUILT(expert_choice::kernel_write_best<256>);
RESONANCE_BUILT(expert_choice::kernel_choose_candidates<256>);

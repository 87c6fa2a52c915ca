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

# Faults in the library's own kernels.
set(rank PROGRAM simt/core/block_rank_test.cpp)
set(select PROGRAM simt/core/block_select_test.cpp)
set(collectives FILE core/collectives.cuh)
resonance_mutant(core_block_scan_barrier ${rank} SANITIZER thread BY race ${collectives}
                 FIND "sync_block();\n    T below = 0;" REPLACE "T below = 0;")
resonance_mutant(core_block_scan_reuse ${rank} SANITIZER thread BY race ${collectives}
                 FIND "sync_block();\n    return below" REPLACE "return below")
resonance_mutant(core_warp_shuffle_mask ${select} BY report ${collectives}
                 FIND "return __shfl_up_sync(mask()," REPLACE "return __shfl_up_sync(mask() >> 1,")

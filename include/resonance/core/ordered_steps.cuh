// SPDX-License-Identifier: Apache-2.0
//! \file
//! Several steps in one launch: what a block of a later step reads, the blocks of the earlier ones have written.
#ifndef RESONANCE_CORE_ORDERED_STEPS_CUH
#define RESONANCE_CORE_ORDERED_STEPS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! A grid with one block for each item of all steps. A block's item goes by the order in which blocks begin, not by
//! their index: whoever waits, waits for blocks that run already. So the grid may be larger than what the device holds
//! at once, and no cooperative launch is needed.
//!
//! Threads    all of the block, for the constructor and for step()
//! Inputs     counters unsigned[words] in global memory, 0 when the launch begins
//! Contract   every block calls step() for the same steps with the same items; the grid has their sum in blocks
//! Resources  two atomics and three barriers per block
//! Example    test/simt/core/ordered_steps_test.cpp
class ordered_steps {
 public:
  static constexpr int words = 2;  //!< items taken, items done

  RESONANCE_DEVICE ordered_steps(const block_team& team, unsigned* counters) : counters_(counters) {
    item_ = team.max(team.rank() == 0 ? atomic_add(counters, 1u) : 0u);
  }

  //! body(i) for every i in [0, items), each by one block, after all items of the steps before.
  template <class Body>
  RESONANCE_DEVICE void step(std::uint32_t items, const Body& body) {
    const std::uint32_t before = first_;
    first_ += items;
    if (item_ < before || item_ >= first_) return;
    if (before != 0) wait_for(before);
    body(item_ - before);
    sync_block();
    if (block_thread() == 0) {
      fence_device();
      atomic_add(counters_ + 1, 1u);
    }
  }

 private:
  RESONANCE_DEVICE void wait_for(std::uint32_t items) const {
    if (block_thread() == 0) {
      while (atomic_add(counters_ + 1, 0u) < items) {
      }
      fence_device();
    }
    sync_block();
  }

  unsigned* counters_;
  std::uint32_t item_;
  std::uint32_t first_ = 0;  // of the next step
};

//! The same interface for a block that does all items itself, one after the other.
class serial_steps {
 public:
  template <class Body>
  RESONANCE_DEVICE void step(std::uint32_t items, const Body& body) const {
    for (std::uint32_t item = 0; item < items; ++item) {
      body(item);
      sync_block();
    }
  }
};

RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! The executor as a test sees it: how threads are scheduled, what was found wrong, what memory traffic there was.
#ifndef RESONANCE_TEST_SIMT_CONTROL_HPP
#define RESONANCE_TEST_SIMT_CONTROL_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <simt/language.hpp>

namespace simt {

//! Which thread runs on when one has to wait. A thread runs until it waits in a barrier or a warp operation.
enum class schedule {
  round_robin,     //!< the next one by index
  random,          //!< any, by configuration::seed; the same ones in the same launch again
  lifo,            //!< of those that became ready last, the lowest lane
  warps_forward,   //!< the lowest: a warp goes on until its next barrier
  warps_backward,  //!< the highest
};
inline constexpr schedule every_schedule[] = {schedule::round_robin, schedule::random, schedule::lifo,
                                              schedule::warps_forward, schedule::warps_backward};
const char* name_of(schedule order);

//! Blocks run one after the other.
enum class block_order { forward, backward };

struct configuration {
  schedule order = schedule::round_robin;
  block_order blocks = block_order::forward;
  std::uint64_t seed = 1;
  //! Shared memory of all blocks of a launch; when it is used up, it is handed out again from the start.
  std::size_t arena_bytes = std::size_t{64} << 20;
  bool count_traffic = false;
};

//! In force from the next launch on.
configuration& config();

//! Reports since the last reset. Each was also printed to stderr, with kernel, block, thread and place.
std::size_t errors();
//! Their texts, of the first 64; counts start again from 0.
std::vector<std::string> take_reports();

//! Global memory accesses of one kind. An access of a warp is the k-th time that its lanes pass one place.
struct access_counts {
  std::uint64_t bytes = 0;
  std::uint64_t thread_accesses = 0;
  std::uint64_t warp_accesses = 0;
  std::uint64_t sectors = 0;  //!< 32-byte sectors, each counted once per warp access
};

struct launch_record {
  std::string kernel;
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  std::size_t shared_bytes = 0;  //!< of the block that used most, static and dynamic
  access_counts loads, stores;   //!< of what is counted by SIMT_COUNT_LOAD and SIMT_COUNT_STORE
  std::uint64_t atomics = 0;     //!< by single threads, on global memory; in neither loads nor stores
};

//! Everything launched since the last reset, while configuration::count_traffic was on.
struct traffic_record {
  std::vector<launch_record> launches;
  access_counts loads() const;
  access_counts stores() const;
};

const traffic_record& traffic();
void reset_traffic();

}  // namespace simt

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! For tests of many cases, where every case under every schedule would take too long.
#ifndef RESONANCE_TEST_SIMT_NEXT_SCHEDULE_HPP
#define RESONANCE_TEST_SIMT_NEXT_SCHEDULE_HPP

#include <cstddef>
#include <iterator>
#include <simt/control.hpp>

namespace simt {

//! Takes the schedules in turn, one per call; says which it is.
inline const char* next_schedule() {
  static std::size_t turn = 0;
  config().order = every_schedule[turn++ % std::size(every_schedule)];
  config().seed = turn;
  return name_of(config().order);
}

}  // namespace simt

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! The executor in GoogleTest: a report fails the test in which it was made, and every test starts with the default
//! configuration. resonance_simt_test() puts this into each program.
#ifndef RESONANCE_TEST_SIMT_ENVIRONMENT_HPP
#define RESONANCE_TEST_SIMT_ENVIRONMENT_HPP

#include <gtest/gtest.h>

#include <simt/control.hpp>
#include <string>

namespace simt {

class report_listener : public ::testing::EmptyTestEventListener {
 public:
  void OnTestStart(const ::testing::TestInfo&) override {
    config() = configuration{};
    take_reports();
    reset_traffic();
  }
  void OnTestEnd(const ::testing::TestInfo&) override {
    const std::size_t count = errors();
    const auto reports = take_reports();
    if (count == 0) return;
    std::string texts;
    for (const std::string& text : reports) texts += "\n  " + text;
    ADD_FAILURE() << count << " reports of the SIMT executor that the test did not take:" << texts;
  }
};

inline const bool report_listener_installed = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new report_listener);
  return true;
}();

//! Calls body() once for each schedule, random with two seeds, with blocks forward and once backward. A failure says
//! which it was.
template <class Body>
void under_every_schedule(const Body& body) {
  const configuration before = config();
  const auto run = [&](schedule order, block_order blocks, std::uint64_t seed) {
    config().order = order;
    config().blocks = blocks;
    config().seed = seed;
    const ::testing::ScopedTrace trace(__FILE__, __LINE__,
                                       std::string("schedule ") + name_of(order) + ", seed " + std::to_string(seed) +
                                           (blocks == block_order::backward ? ", blocks backward" : ""));
    body();
  };
  for (const schedule order : every_schedule) run(order, block_order::forward, before.seed);
  run(schedule::random, block_order::backward, before.seed + 1);
  config() = before;
}

}  // namespace simt

#endif

// SPDX-License-Identifier: Apache-2.0
// Every kind of executor that a stage must give the same bits on.
#pragma once

#include <resonance/core/executor.hpp>
#include <resonance/core/executor_threads.hpp>

#ifdef _OPENMP
#include <resonance/core/executor_openmp.hpp>
#endif

namespace support {

//! A caller's executor: promises several workers, and runs the pieces one by one from the last to the first.
class reverse_executor {
 public:
  explicit reverse_executor(int workers) : workers_(workers) {}
  int workers() const { return workers_; }
  template <class F>
  void run(int count, F&& f) const {
    for (int i = count - 1; i >= 0; --i) f(i);
  }

 private:
  int workers_;
};

//! Calls body(executor, name) for serial, reversed, pools of 2 and 8 threads, and OpenMP where it is compiled in.
template <class Body>
void with_every_executor(const Body& body) {
  body(resonance::serial_executor{}, "serial");
  body(reverse_executor(5), "caller's own, reversed");
  static const resonance::thread_pool two_threads(2);
  static const resonance::thread_pool eight_threads(8);
  body(two_threads, "thread_pool(2)");
  body(eight_threads, "thread_pool(8)");
#ifdef _OPENMP
  body(resonance::openmp_executor(3), "OpenMP, 3 threads");
#endif
}

}  // namespace support

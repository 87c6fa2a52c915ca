// SPDX-License-Identifier: Apache-2.0
// Every kind of executor that a stage must give the same bits on.
#pragma once

#include <functional>

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

//! Any executor behind one type, so that a test of all of them compiles each stage once. Keeps a reference.
class any_executor {
 public:
  template <class Executor>
  any_executor(const Executor& executor)
      : workers_(executor.workers()),
        run_([&executor](int count, const std::function<void(int)>& f) { executor.run(count, f); }) {}
  any_executor(const any_executor&) = default;

  int workers() const { return workers_; }
  template <class F>
  void run(int count, F&& f) const {
    run_(count, std::ref(f));
  }

 private:
  int workers_;
  std::function<void(int, const std::function<void(int)>&)> run_;
};

//! Serial, for calls that share the compiled code of the others.
inline any_executor serial() {
  static const resonance::serial_executor executor;
  return executor;
}

//! Calls body(executor, name) for serial, reversed, pools of 2 and 8 threads, and OpenMP where it is compiled in.
template <class Body>
void with_every_executor(const Body& body) {
  static const reverse_executor reversed(5);
  static const resonance::thread_pool two_threads(2);
  static const resonance::thread_pool eight_threads(8);
  body(serial(), "serial");
  body(any_executor(reversed), "caller's own, reversed");
  body(any_executor(two_threads), "thread_pool(2)");
  body(any_executor(eight_threads), "thread_pool(8)");
#ifdef _OPENMP
  static const resonance::openmp_executor three_openmp_threads(3);
  body(any_executor(three_openmp_threads), "OpenMP, 3 threads");
#endif
}

}  // namespace support

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Runs host stages on OpenMP's threads. Compile with the compiler's OpenMP flag.
#ifndef RESONANCE_CORE_EXECUTOR_OPENMP_HPP
#define RESONANCE_CORE_EXECUTOR_OPENMP_HPP

#include <omp.h>

#include <resonance/config.hpp>

#if !defined(_OPENMP)
#error "resonance: executor_openmp.hpp needs the compiler's OpenMP flag (-fopenmp)"
#endif

RESONANCE_NAMESPACE_BEGIN

//! `threads` = 0 asks for omp_get_max_threads().
class openmp_executor {
 public:
  explicit openmp_executor(int threads = 0) : threads_(threads > 0 ? threads : omp_get_max_threads()) {}

  int workers() const { return threads_; }

  template <class F>
  void run(int count, F&& f) const {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_)
    for (int i = 0; i < count; ++i) f(i);
  }

 private:
  int threads_;
};

RESONANCE_NAMESPACE_END

#endif

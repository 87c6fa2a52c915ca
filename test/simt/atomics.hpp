// SPDX-License-Identifier: Apache-2.0
//! \file
//! Atomic read-modify-write, relaxed as CUDA's are, and the fences.
//!
//! They are real atomics of the compiler, so that the thread sanitizer tells them from plain accesses. The overloads
//! are CUDA's, so that a call that nvcc refuses does not compile here either.
#ifndef RESONANCE_TEST_SIMT_ATOMICS_HPP
#define RESONANCE_TEST_SIMT_ATOMICS_HPP

namespace simt::detail {

//! A fence before an atomic makes it a release, a fence after it an acquire: what the first thread did before its fence
//! comes before what the second does after its own, if its atomic came later on the same address.
void fence();

//! Whether anyone wants to hear of atomics: the traffic counters or the thread sanitizer.
extern bool atomics_observed;
void observe_atomic(void* target);
inline void before_atomic(void* target) {
  if (atomics_observed) observe_atomic(target);
}

//! *target = next(*target), in one step; the value before.
template <class T, class Next>
T atomic_update(T* target, const Next& next) {
  before_atomic(target);
  T before;
  __atomic_load(target, &before, __ATOMIC_RELAXED);
  T after = next(before);
  while (!__atomic_compare_exchange(target, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    after = next(before);
  return before;
}

}  // namespace simt::detail

inline void __threadfence() { simt::detail::fence(); }
inline void __threadfence_block() { simt::detail::fence(); }

inline float atomicAdd(float* target, float value) {
  return simt::detail::atomic_update(target, [=](float before) { return before + value; });
}
inline double atomicAdd(double* target, double value) {
  return simt::detail::atomic_update(target, [=](double before) { return before + value; });
}

#define SIMT_ATOMIC_FETCH(name, builtin, T)          \
  inline T name(T* target, T value) {                \
    simt::detail::before_atomic(target);             \
    return builtin(target, value, __ATOMIC_RELAXED); \
  }
#define SIMT_ATOMIC_EXCHANGE(T)                                   \
  inline T atomicExch(T* target, T value) {                       \
    simt::detail::before_atomic(target);                          \
    T before;                                                     \
    __atomic_exchange(target, &value, &before, __ATOMIC_RELAXED); \
    return before;                                                \
  }
#define SIMT_ATOMIC_INTEGER(T)                                                                             \
  SIMT_ATOMIC_FETCH(atomicAdd, __atomic_fetch_add, T)                                                      \
  SIMT_ATOMIC_FETCH(atomicOr, __atomic_fetch_or, T)                                                        \
  SIMT_ATOMIC_FETCH(atomicAnd, __atomic_fetch_and, T)                                                      \
  SIMT_ATOMIC_FETCH(atomicXor, __atomic_fetch_xor, T)                                                      \
  SIMT_ATOMIC_EXCHANGE(T)                                                                                  \
  inline T atomicMax(T* target, T value) {                                                                 \
    return simt::detail::atomic_update(target, [=](T before) { return before > value ? before : value; }); \
  }                                                                                                        \
  inline T atomicMin(T* target, T value) {                                                                 \
    return simt::detail::atomic_update(target, [=](T before) { return before < value ? before : value; }); \
  }                                                                                                        \
  inline T atomicCAS(T* target, T expected, T value) {                                                     \
    simt::detail::before_atomic(target);                                                                   \
    __atomic_compare_exchange_n(target, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);      \
    return expected;                                                                                       \
  }

SIMT_ATOMIC_INTEGER(int)
SIMT_ATOMIC_INTEGER(unsigned)
SIMT_ATOMIC_INTEGER(unsigned long long)
SIMT_ATOMIC_EXCHANGE(float)

#undef SIMT_ATOMIC_FETCH
#undef SIMT_ATOMIC_EXCHANGE
#undef SIMT_ATOMIC_INTEGER

#endif

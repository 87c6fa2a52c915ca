// SPDX-License-Identifier: Apache-2.0
//! \file
//! What the lanes of a warp do together (shuffles, votes, __syncwarp), and the integer intrinsics.
//!
//! All lanes that the mask names have to execute the same operation, with values of the same size and the same mask. A
//! lane that does not, has ended, or is not in its own mask is reported with the place of the call.
#ifndef RESONANCE_TEST_SIMT_WARP_HPP
#define RESONANCE_TEST_SIMT_WARP_HPP

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <simt/language.hpp>

namespace simt::detail {

enum class warp_op : unsigned char { sync, ballot, any, all, shuffle, shuffle_up, shuffle_down, shuffle_xor };

//! Where a lane came from, for the reports. The intrinsics take it as a last, defaulted argument.
struct site {
  const char* file;
  int line;
};

//! Waits for the lanes of `mask`; the vote (one bit a lane, for ballot), or the value of lane `source`.
std::uint64_t warp_meet(warp_op op, unsigned value_bytes, unsigned mask, std::uint64_t value, unsigned source,
                        site from);
//! Reports a width that is no power of two up to 32.
void bad_width(int width, site from);

//! Lane that a shuffle reads, as the PTX instruction computes it: the clamp keeps it in the segment of `width` lanes.
inline unsigned shuffle_source(warp_op op, unsigned self, unsigned operand, int width, site from) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) bad_width(width, from);
  const unsigned inside = static_cast<unsigned>(width) - 1;
  const unsigned first = self & ~inside;
  const unsigned last = self | inside;
  const unsigned b = operand & 31;
  switch (op) {
    case warp_op::shuffle: return first | (b & inside);
    case warp_op::shuffle_up: return self >= first + b ? self - b : self;
    case warp_op::shuffle_down: return self + b <= last ? self + b : self;
    default: return (self ^ b) <= last ? self ^ b : self;  // xor reaches earlier segments, but no later one
  }
}

template <class T>
T shuffle(warp_op op, unsigned mask, T value, unsigned operand, int width, site from) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "simt: a shuffle moves up to 8 plain bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_meet(op, sizeof value, mask, bits, shuffle_source(op, lane(), operand, width, from), from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace simt::detail

#define SIMT_SITE ::simt::detail::site from = {__builtin_FILE(), __builtin_LINE()}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle(simt::detail::warp_op::shuffle, mask, value, static_cast<unsigned>(source), width, from);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle(simt::detail::warp_op::shuffle_up, mask, value, delta, width, from);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle(simt::detail::warp_op::shuffle_down, mask, value, delta, width, from);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, SIMT_SITE) {
  return simt::detail::shuffle(simt::detail::warp_op::shuffle_xor, mask, value, static_cast<unsigned>(lane_mask), width,
                               from);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  return static_cast<unsigned>(
      simt::detail::warp_meet(simt::detail::warp_op::ballot, 0, mask, predicate != 0, 0, from));
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::warp_meet(simt::detail::warp_op::any, 0, mask, predicate != 0, 0, from) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return simt::detail::warp_meet(simt::detail::warp_op::all, 0, mask, predicate != 0, 0, from) == mask;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SIMT_SITE) {
  simt::detail::warp_meet(simt::detail::warp_op::sync, 0, mask, 0, 0, from);
}

#undef SIMT_SITE

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= ((x >> bit) & 1u) << (31 - bit);
  return reversed;
}

#endif

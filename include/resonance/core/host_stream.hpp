// SPDX-License-Identifier: Apache-2.0
//! \file
//! Copies past the caches: rows that will not be read again before the caches have forgotten them.
#ifndef RESONANCE_CORE_HOST_STREAM_HPP
#define RESONANCE_CORE_HOST_STREAM_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <resonance/config.hpp>

#if defined(__SSE2__) && !defined(__CUDACC__)
#include <emmintrin.h>
#endif

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Output of this size and more is written past the caches: an ordinary store reads the line first, and pushes out
//! what others keep there. Below, the next stage finds the output in a cache, which is worth more. The size of a
//! shared cache of common servers; on one with 32 MiB both ways cost the same there (bench/NOTES.md).
inline constexpr std::size_t streamed_bytes = std::size_t{32} << 20;

//! memcpy, past the caches where the processor can. Between the last call and the end of the work: finish_streaming().
inline void copy_streaming(void* to, const void* from, std::size_t bytes) {
#if defined(__SSE2__) && !defined(__CUDACC__)
  auto* target = static_cast<unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  const std::size_t misaligned = (0 - reinterpret_cast<std::uintptr_t>(target)) % 16;
  const std::size_t head = misaligned < bytes ? misaligned : bytes;
  std::memcpy(target, source, head);
  std::size_t i = head;
  const auto stream = [&](std::size_t at, __m128i value) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(target + at), value);
  };
  const auto load = [&](std::size_t at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + at)); };
  for (; i + 64 <= bytes; i += 64) {  // a line at a time
    const __m128i a = load(i), b = load(i + 16), c = load(i + 32), d = load(i + 48);
    stream(i, a);
    stream(i + 16, b);
    stream(i + 32, c);
    stream(i + 48, d);
  }
  std::memcpy(target + i, source + i, bytes - i);
#else
  std::memcpy(to, from, bytes);
#endif
}

//! Makes what copy_streaming wrote visible to other threads, in the order of the program.
inline void finish_streaming() {
#if defined(__SSE2__) && !defined(__CUDACC__)
  _mm_sfence();
#endif
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Copies past the caches: rows that will not be read again before the caches have forgotten them.
#ifndef RESONANCE_CORE_HOST_STREAM_HPP
#define RESONANCE_CORE_HOST_STREAM_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <resonance/config.hpp>
#include <resonance/core/host_intrinsics.hpp>
#include <resonance/core/host_simd.hpp>

#if defined(__SSE2__) && !defined(__CUDACC__)
#include <emmintrin.h>
#define RESONANCE_DETAIL_STREAMS 1
#else
#define RESONANCE_DETAIL_STREAMS 0
#endif

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Output of this size and more is written past the caches: an ordinary store reads the line first, and pushes out
//! what others keep there. Below, the next stage finds the output in a cache, which is worth more. The size of a
//! shared cache of common servers; on one with 32 MiB both ways cost the same there (bench/NOTES.md).
inline constexpr std::size_t streamed_bytes = std::size_t{32} << 20;

inline bool past_the_caches(std::int64_t rows, std::int64_t columns, std::size_t element_bytes) {
  const std::size_t row_bytes = static_cast<std::size_t>(columns) * element_bytes;
  return row_bytes > 0 && static_cast<std::size_t>(rows) >= streamed_bytes / row_bytes;
}

#if RESONANCE_DETAIL_STREAMS
inline constexpr std::size_t line_bytes = 64;

//! `lines` whole lines to an aligned target.
inline void stream_lines(unsigned char* to, const unsigned char* from, std::size_t lines) {
  for (std::size_t i = 0; i < lines * line_bytes; i += line_bytes) {
    __m128i part[4];
    for (int p = 0; p < 4; ++p) part[p] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i) + p);
    for (int p = 0; p < 4; ++p) _mm_stream_si128(reinterpret_cast<__m128i*>(to + i) + p, part[p]);
  }
}
#endif

#if RESONANCE_DETAIL_AVX2
//! Two stores a line instead of four: a tenth of the time less (bench/NOTES.md).
RESONANCE_DETAIL_TARGET_V3 inline void stream_lines_v3(unsigned char* to, const unsigned char* from,
                                                       std::size_t lines) {
  for (std::size_t i = 0; i < lines * line_bytes; i += line_bytes) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i) + 1);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), low);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i) + 1, high);
  }
}
#endif

//! memcpy, past the caches where the processor can. Between the last call and the end of the work: finish_streaming().
inline void copy_streaming(void* to, const void* from, std::size_t bytes) {
#if RESONANCE_DETAIL_STREAMS
  auto* target = static_cast<unsigned char*>(to);
  const auto* source = static_cast<const unsigned char*>(from);
  const std::size_t misaligned = (0 - reinterpret_cast<std::uintptr_t>(target)) % line_bytes;
  const std::size_t head = misaligned < bytes ? misaligned : bytes;
  if (head > 0) std::memcpy(target, source, head);
  const std::size_t lines = (bytes - head) / line_bytes;
#if RESONANCE_DETAIL_AVX2
  if (has_x86_64_v3()) {
    stream_lines_v3(target + head, source + head, lines);
  } else {
    stream_lines(target + head, source + head, lines);
  }
#else
  stream_lines(target + head, source + head, lines);
#endif
  const std::size_t done = head + lines * line_bytes;
  if (done < bytes) std::memcpy(target + done, source + done, bytes - done);
#else
  std::memcpy(to, from, bytes);
#endif
}

//! Asks for a line that is read soon. The address need not be one that can be read.
RESONANCE_FORCE_INLINE void prefetch_line(const void* at) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(at);
#else
  static_cast<void>(at);
#endif
}

//! Makes what copy_streaming wrote visible to other threads, in the order of the program.
inline void finish_streaming() {
#if RESONANCE_DETAIL_STREAMS
  _mm_sfence();
#endif
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#undef RESONANCE_DETAIL_STREAMS

#endif

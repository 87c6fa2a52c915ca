// SPDX-License-Identifier: Apache-2.0
//! \file
//! Global memory of the device: every access of the library goes through here, as wide as the addresses allow.
#ifndef RESONANCE_CORE_VECTOR_IO_CUH
#define RESONANCE_CORE_VECTOR_IO_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/row_type.hpp>
#include <resonance/core/std.hpp>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN

//! Reads or writes one value in global memory.
template <class T>
RESONANCE_DEVICE T load(const T* source, call_site site = call_site::here()) {
#if defined(RESONANCE_SIMT)
  SIMT_COUNT_LOAD(source, sizeof(T), site.file, site.line);
#else
  static_cast<void>(site);
#endif
  return *source;
}

template <class T>
RESONANCE_DEVICE void store(T* target, T value, call_site site = call_site::here()) {
#if defined(RESONANCE_SIMT)
  SIMT_COUNT_STORE(target, sizeof(T), site.file, site.line);
#else
  static_cast<void>(site);
#endif
  *target = value;
}

namespace detail {

template <int Bytes>
struct packet_of;
template <>
struct packet_of<16> {
  using type = uint4;
};
template <>
struct packet_of<8> {
  using type = uint2;
};
template <>
struct packet_of<4> {
  using type = std::uint32_t;
};
template <>
struct packet_of<2> {
  using type = std::uint16_t;
};
template <>
struct packet_of<1> {
  using type = std::uint8_t;
};

}  // namespace detail

//! A piece of a row that one instruction moves: 16, 8, 4, 2 or 1 bytes.
template <int Bytes>
using packet = typename detail::packet_of<Bytes>::type;

inline constexpr int widest_packet = 16;

//! The widest packet that all addresses and byte counts in `bits` (or-ed together) are multiples of.
RESONANCE_HOST_DEVICE inline int packet_bytes_for(std::uint64_t bits) {
  int bytes = widest_packet;
  while (bytes > 1 && bits % static_cast<std::uint64_t>(bytes) != 0) bytes /= 2;
  return bytes;
}

//! The address and row step of a matrix as packet_bytes_for wants them; row_bytes is left to the caller.
template <class T>
RESONANCE_HOST_DEVICE std::uint64_t alignment_bits(const T* data, std::int64_t stride) {
  return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(data)) |
         static_cast<std::uint64_t>(stride) * sizeof(T);
}

//! May four elements of a row be moved at once, from a multiple of four on?
template <class T>
RESONANCE_HOST_DEVICE bool moves_fours(const matrix_view<T>& m) {
  return alignment_bits(m.data, m.rows > 1 ? m.stride : 0) % (4 * sizeof(T)) == 0;
}

//! Element `i` of the elements that a packet holds, as float.
template <class T, int Bytes>
RESONANCE_DEVICE float packet_element(const packet<Bytes>& p, int i) {
  T elements[static_cast<std::size_t>(Bytes) / sizeof(T)];
  memcpy(elements, &p, sizeof elements);
  return row_traits<T>::widen(elements[i]);
}

//! Calls put(j, value) for every element of row[0..count), widened, from the threads of a team or tile: the widest
//! accesses that the row's address allows, and one by one past the last whole packet.
template <class Team, class T, class Put>
RESONANCE_DEVICE void load_row(const Team& team, const T* row, std::int64_t count, const Put& put,
                               call_site site = call_site::here()) {
  constexpr int per_packet = widest_packet / static_cast<int>(sizeof(T));
  std::int64_t whole = 0;
  if (reinterpret_cast<std::uintptr_t>(row) % widest_packet == 0) {
    whole = count / per_packet;
    const auto* packets = reinterpret_cast<const packet<widest_packet>*>(row);
    for (std::int64_t p = team.rank(); p < whole; p += team.size()) {
      const packet<widest_packet> elements = load(packets + p, site);
      RESONANCE_UNROLL
      for (int i = 0; i < per_packet; ++i) put(p * per_packet + i, packet_element<T, widest_packet>(elements, i));
    }
  }
  for (std::int64_t j = whole * per_packet + team.rank(); j < count; j += team.size())
    put(j, row_traits<T>::widen(load(row + j, site)));
}

//! Four neighbouring elements of a row from column j on, widened; 0 past `count`. `aligned`: four elements at a
//! multiple of four may be read at once.
template <class T>
RESONANCE_DEVICE void load_four(const T* row, std::int64_t j, std::int64_t count, bool aligned, float (&out)[4],
                                call_site site = call_site::here()) {
  constexpr int bytes = 4 * static_cast<int>(sizeof(T));
  if (aligned && j + 4 <= count) {
    const auto elements = load(reinterpret_cast<const packet<bytes>*>(row + j), site);
    RESONANCE_UNROLL
    for (int i = 0; i < 4; ++i) out[i] = packet_element<T, bytes>(elements, i);
  } else {
    RESONANCE_UNROLL
    for (int i = 0; i < 4; ++i) out[i] = j + i < count ? row_traits<T>::widen(load(row + j + i, site)) : 0.0f;
  }
}

//! Writes the four where load_four reads them: those before `count`.
RESONANCE_DEVICE void store_four(float* row, std::int64_t j, std::int64_t count, bool aligned, const float (&values)[4],
                                 call_site site = call_site::here()) {
  if (aligned && j + 4 <= count) {
    packet<16> four;
    memcpy(&four, values, sizeof four);
    store(reinterpret_cast<packet<16>*>(row + j), four, site);
  } else {
    RESONANCE_UNROLL
    for (int i = 0; i < 4; ++i)
      if (j + i < count) store(row + j + i, values[i], site);
  }
}

RESONANCE_NAMESPACE_END

#endif

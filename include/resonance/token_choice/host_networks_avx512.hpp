// SPDX-License-Identifier: Apache-2.0
//! \file
//! Sorting networks across rows, for AVX-512: a register holds one place of many rows.
#ifndef RESONANCE_TOKEN_CHOICE_HOST_NETWORKS_AVX512_HPP
#define RESONANCE_TOKEN_CHOICE_HOST_NETWORKS_AVX512_HPP

#include <cstddef>
#include <utility>

#include <resonance/core/host_vectors_avx512.hpp>

#if RESONANCE_DETAIL_AVX512

RESONANCE_NAMESPACE_BEGIN
namespace detail {

// clang takes eight minutes for a program with the long networks unrolled under its AddressSanitizer.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RESONANCE_DETAIL_COMPILES_SLOWLY 1
#endif
#endif
#if defined(RESONANCE_DETAIL_COMPILES_SLOWLY)
inline constexpr bool unrolls_all = false;
#undef RESONANCE_DETAIL_COMPILES_SLOWLY
#else
inline constexpr bool unrolls_all = true;
#endif

//! Which places of a network meet, in order; the upper one gets the larger.
struct place_pair {
  int upper = 0, lower = 0;
};

//! Batcher's odd-even merge sort of Places places, a power of two.
template <int Places>
struct batcher_network {
  template <class Visit>
  static constexpr void walk(Visit& visit) {
    for (int p = 1; p < Places; p *= 2)
      for (int k = p; k >= 1; k /= 2)
        for (int j = k % p; j + k < Places; j += 2 * k)
          for (int i = 0; i < k; ++i)
            if (i + j + k < Places && (i + j) / (2 * p) == (i + j + k) / (2 * p)) visit(i + j, i + j + k);
  }
};

//! Puts a bitonic sequence of Places places in order.
template <int Places>
struct bitonic_network {
  template <class Visit>
  static constexpr void walk(Visit& visit) {
    for (int apart = Places / 2; apart >= 1; apart /= 2)
      for (int i = 0; i < Places; ++i)
        if ((i & apart) == 0) visit(i, i + apart);
  }
};

struct pair_counter {
  int count = 0;
  constexpr void operator()(int, int) { ++count; }
};
template <class Network>
constexpr int count_pairs() {
  pair_counter counter;
  Network::walk(counter);
  return counter.count;
}

template <class Network>
struct network_pairs {
  static constexpr int count = count_pairs<Network>();
  place_pair pair[static_cast<std::size_t>(count + 1)];  // one place has no pairs
  int recorded = 0;

  constexpr network_pairs() : pair{} { Network::walk(*this); }
  constexpr void operator()(int upper, int lower) { pair[recorded++] = {upper, lower}; }
};
template <class Network>
inline constexpr network_pairs<Network> pairs_of{};

//! The Best largest of Places places, largest first, in the first Best places; both powers of two.
template <int Best, int Places>
struct avx512_best_of {
  template <class Vector>
  RESONANCE_DETAIL_INLINE_AVX512 static void run(Vector* places) {
    for (int block = 0; block < Places; block += Best) apply<batcher_network<Best>>(places + block);
    for (int block = Best; block < Places; block += Best) {
      for (int i = 0; i < Best; ++i) places[i] = larger(places[i], places[block + Best - 1 - i]);
      apply<bitonic_network<Best>>(places);
    }
  }

 private:
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 larger(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512 smaller(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512i larger(__m512i a, __m512i b) { return _mm512_max_epi64(a, b); }
  RESONANCE_DETAIL_INLINE_AVX512 static __m512i smaller(__m512i a, __m512i b) { return _mm512_min_epi64(a, b); }

  template <class Vector>
  RESONANCE_DETAIL_INLINE_AVX512 static void exchange(Vector& upper, Vector& lower) {
    const Vector a = upper;
    upper = larger(a, lower);
    lower = smaller(a, lower);
  }
  template <class Network, class Vector, std::size_t... Pair>
  RESONANCE_DETAIL_INLINE_AVX512 static void unroll([[maybe_unused]] Vector* places, std::index_sequence<Pair...>) {
    (exchange(places[pairs_of<Network>.pair[Pair].upper], places[pairs_of<Network>.pair[Pair].lower]), ...);
  }
  //! Unrolled: 2.5 times as fast where Places is 32 or 64.
  template <class Network, class Vector>
  RESONANCE_DETAIL_INLINE_AVX512 static void apply(Vector* places) {
    if constexpr (Places <= 16 || unrolls_all) {
      unroll<Network>(places, std::make_index_sequence<static_cast<std::size_t>(network_pairs<Network>::count)>{});
    } else {
      for (int i = 0; i < network_pairs<Network>::count; ++i)
        exchange(places[pairs_of<Network>.pair[i].upper], places[pairs_of<Network>.pair[i].lower]);
    }
  }
};

}  // namespace detail
RESONANCE_NAMESPACE_END
#endif

#endif

// SPDX-License-Identifier: Apache-2.0
// What this machine needs for the bytes alone, behind a C interface, for compare.py. Built for the machine at hand.
#include <cstdint>
#include <memory>

#include <resonance/core/executor_threads.hpp>
#include <resonance/core/host_stream.hpp>

namespace {

using namespace resonance;

//! body(begin, end) over [0, count) by `threads` threads.
template <class Body>
void in_pieces(int threads, std::int64_t count, const Body& body) {
  static std::unique_ptr<thread_pool> pools[65];
  if (!pools[threads]) pools[threads] = std::make_unique<thread_pool>(threads);
  pools[threads]->run(threads, [&](int piece) { body(count * piece / threads, count * (piece + 1) / threads); });
}

}  // namespace

extern "C" {

//! Floor of selection: reads the logits, writes the maximum of every row.
void floor_row_maxima(const float* x, std::int64_t rows, std::int64_t columns, int threads, float* out) {
  in_pieces(threads, rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      constexpr int lanes = 64;
      float best[lanes];
      const float* from = x + row * columns;
      for (int i = 0; i < lanes; ++i) best[i] = from[i];
      std::int64_t c = lanes;
      for (; c + lanes <= columns; c += lanes)
        for (int i = 0; i < lanes; ++i) best[i] = from[c + i] > best[i] ? from[c + i] : best[i];
      for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) best[i] = best[i + half] > best[i] ? best[i + half] : best[i];
      float most = best[0];
      for (; c < columns; ++c) most = from[c] > most ? from[c] : most;
      out[row] = most;
    }
  });
}

//! Floor of permute: one pass over the source, `times` times its bytes written past the caches.
void floor_streamed_copies(const void* from, std::int64_t row_bytes, std::int64_t rows, int times, int threads,
                           void* to) {
  in_pieces(threads, rows, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (int i = 0; i < times; ++i)
        detail::copy_streaming(static_cast<char*>(to) + (row * times + i) * row_bytes,
                               static_cast<const char*>(from) + row * row_bytes, static_cast<std::size_t>(row_bytes));
    detail::finish_streaming();
  });
}

//! Floor of unpermute: reads every byte once, in order.
std::uint64_t floor_read(const void* from, std::int64_t bytes, int threads) {
  std::uint64_t sums[64] = {};
  in_pieces(threads, bytes / 256, [&](std::int64_t begin, std::int64_t end) {
    constexpr int lanes = 32;
    std::uint64_t lane[lanes] = {};
    const auto* words = static_cast<const std::uint64_t*>(from);
    for (std::int64_t block = begin; block < end; ++block)
      for (int i = 0; i < lanes; ++i) lane[i] += words[block * lanes + i];
    std::uint64_t sum = 0;
    for (const std::uint64_t one : lane) sum += one;
    sums[begin * threads / (bytes / 256 + 1)] = sum;
  });
  std::uint64_t sum = 0;
  for (const std::uint64_t one : sums) sum += one;
  return sum;
}

}  // extern "C"

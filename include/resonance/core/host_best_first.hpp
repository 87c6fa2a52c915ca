// SPDX-License-Identifier: Apache-2.0
//! \file
//! Sorting of packed keys, best first, in time linear in their number where their keys are spread.
#ifndef RESONANCE_CORE_HOST_BEST_FIRST_HPP
#define RESONANCE_CORE_HOST_BEST_FIRST_HPP

#include <algorithm>
#include <cstdint>
#include <functional>

#include <resonance/config.hpp>
#include <resonance/core/host_simd.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! Cuts the range of the items into equal parts, puts every item into its part, and settles the order within the parts
//! by exchanging neighbours: as many rounds as the fullest part has items. No branch depends on an item.
class bucket_sort {
 public:
  static constexpr std::int64_t most = 3072;  // what the stack holds, and most halves of 4096

  //! 1 <= wanted <= count <= most; of the items past the `wanted` best, some are lost.
  static void sort(std::uint64_t* items, std::int64_t count, std::int64_t wanted) {
    run_widest_at_o3([&]() RESONANCE_INLINE_LAMBDA {
      std::uint64_t largest = items[0];
      std::uint64_t smallest = items[0];
      for (std::int64_t i = 0; i < count; ++i) {
        largest = items[i] > largest ? items[i] : largest;
        smallest = items[i] < smallest ? items[i] : smallest;
      }
      const std::uint64_t parts = static_cast<std::uint64_t>(count) <= most_parts / 4 ? most_parts / 4 : most_parts;
      int shift = 0;
      while (((largest - smallest) >> shift) >= parts) ++shift;
      std::uint32_t places[most_parts];
      for (std::uint64_t part = 0; part < parts; ++part) places[part] = 0;
      for (std::int64_t i = 0; i < count; ++i) ++places[(largest - items[i]) >> shift];
      std::uint32_t before = 0;
      std::uint32_t fullest = 0;
      for (std::uint64_t part = 0; part < parts; ++part) fullest = places[part] > fullest ? places[part] : fullest;
      for (std::uint64_t part = 0; part < parts; ++part) {
        const std::uint32_t held = places[part];
        places[part] = before;
        before += held;
      }
      if (fullest > most_rounds) {
        std::sort(items, items + count, std::greater<std::uint64_t>());
        return;
      }
      std::uint64_t sorted[most];
      for (std::int64_t i = 0; i < count; ++i) sorted[places[(largest - items[i]) >> shift]++] = items[i];
      // Whole parts up to the last one that is wanted; from the next one nothing can come.
      const std::int64_t settled = wanted + fullest < count ? wanted + fullest : count;
      for (std::uint32_t round = 0; round < fullest; round += 2) {
        exchange_neighbours(sorted, settled);
        exchange_neighbours(sorted + 1, settled - 1);
      }
      for (std::int64_t i = 0; i < wanted; ++i) items[i] = sorted[i];
    });
  }

 private:
  static constexpr std::uint64_t most_parts = 1024;
  static constexpr std::uint32_t most_rounds = 16;

  RESONANCE_FORCE_INLINE static void exchange_neighbours(std::uint64_t* items, std::int64_t count) {
    for (std::int64_t i = 0; i + 2 <= count; i += 2) {
      const std::uint64_t a = items[i];
      const std::uint64_t b = items[i + 1];
      items[i] = a > b ? a : b;
      items[i + 1] = a > b ? b : a;
    }
  }
};

//! Puts the items from the middle of a sample of them on before the smaller ones, without a branch that depends on an
//! item; returns how many.
inline std::int64_t put_larger_half_first(std::uint64_t* items, std::int64_t count) {
  constexpr std::int64_t sampled = 63;
  std::uint64_t sample[sampled];
  for (std::int64_t i = 0; i < sampled; ++i) sample[i] = items[count / sampled * i];
  std::nth_element(sample, sample + sampled / 2, sample + sampled);
  const std::uint64_t middle = sample[sampled / 2];
  std::int64_t larger = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t item = items[i];
    items[i] = items[larger];
    items[larger] = item;
    larger += item >= middle ? 1 : 0;
  }
  return larger;
}

//! Puts the `wanted` largest of the items first, by falling value; the rest is undefined. The order of equal items
//! cannot be told; packed keys differ in their index.
inline void sort_best_first(std::uint64_t* items, std::int64_t count, std::int64_t wanted) {
  if (count < 2) return;  // most groups of a small batch
  while (count > bucket_sort::most && wanted > 0) {
    std::int64_t larger = put_larger_half_first(items, count);
    if (larger < count / 8 || larger > count / 8 * 7) {  // a sample that misleads
      larger = count / 2;
      std::nth_element(items, items + larger, items + count, std::greater<std::uint64_t>());
    }
    if (wanted <= larger) {
      count = larger;
      continue;
    }
    sort_best_first(items, larger, larger);
    items += larger;
    count -= larger;
    wanted -= larger;
  }
  if (wanted <= 0) return;
  if (count <= 32) {
    std::sort(items, items + count, std::greater<std::uint64_t>());
  } else {
    bucket_sort::sort(items, count, wanted);
  }
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

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
//! by exchanging neighbours: as many rounds as the fullest part has items. Neither has a branch that depends on an item.
class bucket_sort {
 public:
  static constexpr std::int64_t most = 2048;  // what the stack holds

  //! 1 <= count <= most.
  static void sort(std::uint64_t* items, std::int64_t count) {
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
      for (std::uint64_t part = 0; part < parts; ++part) {
        const std::uint32_t held = places[part];
        fullest = held > fullest ? held : fullest;
        places[part] = before;
        before += held;
      }
      if (fullest > most_rounds) {
        std::sort(items, items + count, std::greater<std::uint64_t>());
        return;
      }
      std::uint64_t sorted[most];
      for (std::int64_t i = 0; i < count; ++i) sorted[places[(largest - items[i]) >> shift]++] = items[i];
      for (std::uint32_t round = 0; round < fullest; round += 2) {
        exchange_neighbours(sorted, count);
        exchange_neighbours(sorted + 1, count - 1);
      }
      for (std::int64_t i = 0; i < count; ++i) items[i] = sorted[i];
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

//! Sorts by falling value. The order of equal items cannot be told; packed keys differ in their index.
inline void sort_best_first(std::uint64_t* items, std::int64_t count) {
  while (count > bucket_sort::most) {
    const std::int64_t half = count / 2;
    std::nth_element(items, items + half, items + count, std::greater<std::uint64_t>());
    sort_best_first(items, half);
    items += half;
    count -= half;
  }
  if (count <= 32) {
    std::sort(items, items + count, std::greater<std::uint64_t>());
  } else {
    bucket_sort::sort(items, count);
  }
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Selection of the best keys of one row, on one thread.
#ifndef RESONANCE_TOKEN_CHOICE_SELECT_HPP
#define RESONANCE_TOKEN_CHOICE_SELECT_HPP

#include <algorithm>
#include <cstdint>
#include <functional>

#include <resonance/config.hpp>
#include <resonance/core/order_key.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace token_choice {

//! Writes the `wanted` best of keys[0..count) as packed keys, best first, ties to the lower index; returns how many
//! there are (keys that are never_chosen do not count).
//!
//! Inputs     keys uint32[count]; `candidates` uint64[count] scratch, used where wanted > 32
//! Outputs    best uint64[wanted]; entries past the returned count are undefined
//! Cost       O(count + wanted^2) expected on random rows for wanted <= 32, else O(count + wanted log wanted)
//!            on average
inline std::int32_t select_best(const std::uint32_t* keys, std::int32_t count, std::int32_t wanted, std::uint64_t* best,
                                std::uint64_t* candidates) {
  constexpr std::int32_t insertion_limit = 32;
  if (wanted <= insertion_limit) {
    std::int32_t found = 0;
    std::uint32_t threshold = never_chosen;  // a newcomer must beat it: equal keys keep the lower index
    for (std::int32_t i = 0; i < count; ++i) {
      if (keys[i] <= threshold) continue;
      std::int32_t place = found < wanted ? found++ : wanted - 1;
      for (; place > 0 && packed_key(best[place - 1]) < keys[i]; --place) best[place] = best[place - 1];
      best[place] = pack_key(keys[i], static_cast<std::uint32_t>(i));
      if (found == wanted) threshold = packed_key(best[wanted - 1]);
    }
    return found;
  }
  std::int32_t choosable = 0;
  for (std::int32_t i = 0; i < count; ++i)
    if (keys[i] != never_chosen) candidates[choosable++] = pack_key(keys[i], static_cast<std::uint32_t>(i));
  const std::int32_t found = std::min(choosable, wanted);
  if (found < choosable)
    std::nth_element(candidates, candidates + found, candidates + choosable, std::greater<std::uint64_t>());
  std::sort(candidates, candidates + found, std::greater<std::uint64_t>());
  std::copy(candidates, candidates + found, best);
  return found;
}

}  // namespace token_choice
RESONANCE_NAMESPACE_END

#endif

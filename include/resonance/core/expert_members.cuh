// SPDX-License-Identifier: Apache-2.0
//! \file
//! Assignments as device code reads them: an expert's members, a slot's token, a token's slots, how many there are.
#ifndef RESONANCE_CORE_EXPERT_MEMBERS_CUH
#define RESONANCE_CORE_EXPERT_MEMBERS_CUH

#include <resonance/config.hpp>
#include <resonance/core/collectives.cuh>
#include <resonance/core/launch.cuh>
#include <resonance/core/std.hpp>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace detail {

//! The slots assigned to one expert, rising.
struct expert_members {
  const std::uint32_t* slots = nullptr;  // [count]
  std::int64_t first = 0;                // members of the experts before
  std::uint32_t count = 0;

  RESONANCE_DEVICE std::uint32_t slot(std::uint32_t i) const { return load(slots + i); }
};

//! Threads of a block that works on one expert: as many as the average list keeps busy. Small blocks meet faster at
//! barriers, and more of them are under way at once; an expert with more members than that is served all the same.
constexpr int threads_per_expert(std::int64_t slots, std::int32_t experts, int most) {
  int threads = 2 * warp_size;
  while (threads < most && std::int64_t{threads} * experts < 2 * slots) threads *= 2;
  return threads;
}

//! visit(i) for every i in [0, count), each by one thread of the team; any count of 32 bits.
template <class Team, class Visit>
RESONANCE_DEVICE void for_each_of(const Team& team, std::uint32_t count, const Visit& visit) {
  const auto step = static_cast<std::uint32_t>(team.size());
  auto i = static_cast<std::uint32_t>(team.rank());
  if (i >= count) return;
  for (;; i += step) {
    visit(i);
    if (count - i <= step) return;
  }
}

//! The same of all experts, side by side.
class member_lists {
 public:
  member_lists() = default;
  //! offsets [E + 1], slots [offsets[E]].
  RESONANCE_HOST_DEVICE member_lists(const std::int64_t* offsets, const std::uint32_t* slots)
      : offsets_(offsets), slots_(slots) {}

  RESONANCE_DEVICE expert_members of(std::int64_t expert) const {
    expert_members members;
    const std::uint32_t first = offset(expert);
    members.first = first;
    members.count = offset(expert + 1) - first;
    members.slots = slots_ + first;
    return members;
  }

 private:
  //! The low half, which holds all of it: 64-bit masks, to which nvcc turns a conversion, need not come up.
  RESONANCE_DEVICE std::uint32_t offset(std::int64_t expert) const {
    return load(reinterpret_cast<const packet<8>*>(offsets_ + expert)).x;
  }

  const std::int64_t* offsets_ = nullptr;
  const std::uint32_t* slots_ = nullptr;
};

RESONANCE_DEVICE std::int64_t first_slot(const assignment_view& a, std::int64_t token) {
  return a.ragged() ? load(a.token_offsets + token) : token * a.slots_per_token;
}

//! Slots are numbered in 32 bits on the device, so that the division is short.
RESONANCE_DEVICE std::uint32_t token_of(const assignment_view& a, std::uint32_t slot) {
  if (a.ragged()) return static_cast<std::uint32_t>(load(a.token_of_slot + slot));
  return slot / static_cast<std::uint32_t>(a.slots_per_token);
}

//! Slots of the tokens that there really are.
RESONANCE_DEVICE std::int64_t live_slots(const assignment_view& a, const std::int64_t* num_tokens) {
  const std::int64_t tokens = live_tokens(a.tokens, num_tokens);
  if (!a.ragged()) return tokens * a.slots_per_token;
  const std::int64_t slots = load(a.token_offsets + tokens);
  return slots < 0 ? 0 : (slots < a.slot_capacity ? slots : a.slot_capacity);
}

}  // namespace detail
RESONANCE_NAMESPACE_END

#endif

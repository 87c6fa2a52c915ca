// SPDX-License-Identifier: Apache-2.0
//! \file
//! Counting of global memory accesses. Threads of a warp run one after the other here, so an access of the warp has to
//! be put together: the k-th time that each lane passed one place. Accesses are logged while a block runs and put
//! together at its end.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "state.hpp"

namespace simt {

namespace {

struct access {
  std::uint64_t address;
  std::uint32_t bytes;
  std::uint16_t place;
  std::uint16_t thread;
};

struct place_slot {
  const char* file;
  int line;
  bool is_store;
};

constexpr std::size_t most_accesses = std::size_t{1} << 27;  // of a block; reserved only, pages come with use
constexpr std::size_t sector_bytes = 32;
constexpr std::size_t most_places = 1024;

access* accesses = nullptr;
std::size_t access_count = 0;
place_slot places[most_places];
std::size_t place_count = 0;
std::size_t last_place = 0;
std::uint64_t atomic_count = 0;
traffic_record record;

std::size_t find_place(const char* file, int line, bool is_store) {
  const auto is = [&](const place_slot& p) { return p.line == line && p.file == file && p.is_store == is_store; };
  if (last_place < place_count && is(places[last_place])) return last_place;
  for (std::size_t i = 0; i < place_count; ++i)
    if (is(places[i])) return last_place = i;
  if (place_count == most_places) {
    detail::report("more than %zu places access global memory", most_places);
    detail::abandon();
  }
  places[place_count] = {file, line, is_store};
  return last_place = place_count++;
}

void add(access_counts& to, const access_counts& from) {
  to.bytes += from.bytes;
  to.thread_accesses += from.thread_accesses;
  to.warp_accesses += from.warp_accesses;
  to.sectors += from.sectors;
}

//! Distinct sectors of up to 32 accesses: those in rising order, the usual case, need no search.
std::uint64_t sectors_of(const access* const* lanes, std::size_t count) {
  static std::vector<std::uint64_t> seen;
  seen.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t last = (lanes[i]->address + lanes[i]->bytes - 1) / sector_bytes;
    for (std::uint64_t s = lanes[i]->address / sector_bytes; s <= last; ++s) {
      if (seen.empty() || s > seen.back())
        seen.push_back(s);
      else if (!std::binary_search(seen.begin(), seen.end(), s))
        seen.insert(std::lower_bound(seen.begin(), seen.end(), s), s);
    }
  }
  return seen.size();
}

//! Puts together what the lanes of one warp did at one place, in the order of each lane.
access_counts counts_at(std::vector<const access*>& events, std::vector<std::uint32_t>& turn) {
  access_counts counts;
  std::uint32_t turns_of_lane[detail::lanes_per_warp] = {};
  std::uint32_t turns = 0;
  turn.clear();
  for (const access* e : events) {
    turn.push_back(turns_of_lane[e->thread % detail::lanes_per_warp]++);
    turns = std::max(turns, turn.back() + 1);
    counts.bytes += e->bytes;
  }
  counts.thread_accesses = events.size();
  counts.warp_accesses = turns;
  static std::vector<const access*> table;
  table.assign(std::size_t{turns} * detail::lanes_per_warp, nullptr);
  for (std::size_t i = 0; i < events.size(); ++i)
    table[turn[i] * detail::lanes_per_warp + events[i]->thread % detail::lanes_per_warp] = events[i];
  for (std::uint32_t t = 0; t < turns; ++t) {
    const access* lanes[detail::lanes_per_warp];
    std::size_t count = 0;
    for (std::size_t l = 0; l < detail::lanes_per_warp; ++l)
      if (const access* e = table[t * detail::lanes_per_warp + l]) lanes[count++] = e;
    counts.sectors += sectors_of(lanes, count);
  }
  return counts;
}

}  // namespace

access_counts traffic_record::loads() const {
  access_counts sum;
  for (const launch_record& launch : launches) add(sum, launch.loads);
  return sum;
}

access_counts traffic_record::stores() const {
  access_counts sum;
  for (const launch_record& launch : launches) add(sum, launch.stores);
  return sum;
}

const traffic_record& traffic() { return record; }
void reset_traffic() { record = traffic_record{}; }

namespace detail {

bool counting_traffic = false;

void count_access(bool is_store, const void* address, std::size_t bytes, const char* file, int line) {
  if (is_shared(address)) return;  // library code for lists that may be in shared memory as well as in global
  if (access_count == most_accesses) {
    report("a block accesses global memory more often than can be counted");
    abandon();
  }
  accesses[access_count++] = {reinterpret_cast<std::uintptr_t>(address), static_cast<std::uint32_t>(bytes),
                              static_cast<std::uint16_t>(find_place(file, line, is_store)),
                              static_cast<std::uint16_t>(running->linear)};
}

void count_atomic(const void* target) {
  if (!is_shared(target)) ++atomic_count;
}

void open_launch_traffic(std::size_t dynamic_bytes) {
  counting_traffic = current_launch.settings.count_traffic;
  if (!counting_traffic) return;
  if (accesses == nullptr) {
    void* const at = mmap(nullptr, most_accesses * sizeof(access), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      std::fputs("simt: no memory to count accesses in\n", stderr);
      std::abort();
    }
    accesses = static_cast<access*>(at);
  }
  access_count = 0;
  launch_record launch;
  launch.kernel = kernel_name();
  launch.grid = current_launch.grid;
  launch.block = current_launch.block;
  launch.dynamic_shared_bytes = dynamic_bytes;
  record.launches.push_back(launch);
}

void close_block_traffic(std::size_t shared_bytes) {
  if (!counting_traffic) return;
  launch_record& launch = record.launches.back();
  launch.atomics += atomic_count;
  atomic_count = 0;
  launch.shared_bytes = std::max(launch.shared_bytes, shared_bytes);
  static std::vector<std::vector<const access*>> by_warp_and_place;
  static std::vector<std::uint32_t> turn;
  const std::size_t groups = place_count * warps_per_block;
  if (by_warp_and_place.size() < groups) by_warp_and_place.resize(groups);
  for (std::size_t i = 0; i < access_count; ++i)
    by_warp_and_place[accesses[i].place * std::size_t{warps_per_block} + accesses[i].thread / lanes_per_warp].push_back(
        &accesses[i]);
  for (std::size_t g = 0; g < groups; ++g) {
    if (by_warp_and_place[g].empty()) continue;
    add(places[g / warps_per_block].is_store ? launch.stores : launch.loads, counts_at(by_warp_and_place[g], turn));
    by_warp_and_place[g].clear();
  }
  access_count = 0;
}

}  // namespace detail
}  // namespace simt

// SPDX-License-Identifier: Apache-2.0
//! \file
//! Shared memory: a region that blocks take pieces of one after the other, so that no address serves two blocks soon.
//!
//! Every array lies between red zones. The address sanitizer is told that only the arrays may be touched; without it a
//! red zone that has changed is reported when the block ends.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "state.hpp"

namespace simt::detail {

namespace {

constexpr std::size_t red_zone = 64;
constexpr std::size_t most_arrays = 64;
constexpr unsigned char filling = 0xA5;
constexpr unsigned char red = 0x5E;

struct array_slot {
  const void* declared;
  unsigned char* data;
  std::size_t bytes;
  site from;
};

unsigned char* arena = nullptr;
std::size_t arena_bytes = 0;
std::size_t used = 0;
std::size_t block_begin = 0;
std::size_t block_shared_bytes = 0;
array_slot arrays[most_arrays];
std::size_t array_count = 0;

constexpr std::size_t round_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }

// Through a volatile pointer, or the compiler would make it a call of memset, which sanitizers intercept.
void fill(unsigned char* begin, std::size_t bytes, unsigned char with) {
  volatile unsigned char* out = begin;
  for (; bytes != 0 && reinterpret_cast<std::uintptr_t>(out) % 8 != 0; --bytes) *out++ = with;
  for (; bytes >= 8; bytes -= 8, out += 8) *reinterpret_cast<volatile std::uint64_t*>(out) = 0x0101010101010101u * with;
  for (; bytes != 0; --bytes) *out++ = with;
}

unsigned char* take(const void* declared, std::size_t bytes, std::size_t alignment, site from) {
  unsigned char* const data = arena + round_up(used + red_zone, alignment < 16 ? 16 : alignment);
  fill(arena + used, static_cast<std::size_t>(data - arena) - used, red);
  unpoison(data, bytes);
  fill(data, bytes, filling);
  used = static_cast<std::size_t>(data - arena) + round_up(bytes, 16) + red_zone;
  fill(data + bytes, static_cast<std::size_t>(arena + used - data) - bytes, red);
  block_shared_bytes += bytes;
  arrays[array_count++] = {declared, data, bytes, from};
  return data;
}

bool intact(const unsigned char* begin, const unsigned char* end) {
  for (; begin != end; ++begin)
    if (*begin != red) return false;
  return true;
}

//! Nothing of an arena that is handed out again may look used: neither to a sanitizer nor to a reader.
void map_arena() {
  void* const at = mmap(arena, arena_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (arena != nullptr ? MAP_FIXED : 0), -1, 0);
  if (at == MAP_FAILED) {
    std::fputs("simt: no memory for the arena\n", stderr);
    std::abort();
  }
  arena = static_cast<unsigned char*>(at);
  poison(arena, arena_bytes);
  used = 0;
}

}  // namespace

void open_arena() {
  // Room for one block with many small arrays, whatever the test has asked for.
  const std::size_t least = 2 * shared_bytes_per_block + most_arrays * 1024;
  const std::size_t wanted =
      round_up(current_launch.settings.arena_bytes < least ? least : current_launch.settings.arena_bytes, 4096);
  if (arena != nullptr && arena_bytes == wanted) {
    used = 0;
    return;
  }
  if (arena != nullptr) {
    unpoison(arena, arena_bytes);
    munmap(arena, arena_bytes);
    arena = nullptr;
  }
  arena_bytes = wanted;
  map_arena();
}

bool is_shared(const void* address) {
  const auto* const byte = static_cast<const unsigned char*>(address);
  return byte >= arena && byte < arena + arena_bytes;
}

void open_block_memory(std::size_t dynamic_bytes) {
  if (arena_bytes - used < 2 * shared_bytes_per_block + most_arrays * 1024 / 2) {
    map_arena();
    order_threads_after_host();
  }
  block_begin = used;
  block_shared_bytes = 0;
  array_count = 0;
  take(nullptr, dynamic_bytes, 16, {"dynamic shared memory", 0});
}

std::size_t close_block_memory() {
  for (std::size_t i = 0; i < array_count; ++i) {
    const array_slot& a = arrays[i];
    if (intact(a.data - red_zone, a.data) && intact(a.data + a.bytes, a.data + round_up(a.bytes, 16) + red_zone))
      continue;
    report("writes outside shared memory, next to the %zu bytes of %s:%d", a.bytes, a.from.file, a.from.line);
  }
  poison(arena + block_begin, used - block_begin);
  return block_shared_bytes;
}

void* shared_array(const void* declared, std::size_t bytes, std::size_t alignment, const char* file, int line) {
  for (std::size_t i = 1; i < array_count; ++i)
    if (arrays[i].declared == declared) return arrays[i].data;
  if (array_count == most_arrays || block_shared_bytes + bytes > shared_bytes_per_block) {
    report("shared memory: %zu bytes at %s:%d after %zu bytes in %zu arrays; a block has %zu bytes", bytes, file, line,
           block_shared_bytes, array_count - 1, shared_bytes_per_block);
    abandon();
  }
  return take(declared, bytes, alignment, {file, line});
}

unsigned char* dynamic_shared() { return arrays[0].data; }

}  // namespace simt::detail

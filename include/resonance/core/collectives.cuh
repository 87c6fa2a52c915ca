// SPDX-License-Identifier: Apache-2.0
//! \file
//! Threads that work together: tiles of a warp, a warp, a block. The only file that names warp and block intrinsics.
#ifndef RESONANCE_CORE_COLLECTIVES_CUH
#define RESONANCE_CORE_COLLECTIVES_CUH

#include <resonance/config.hpp>
#include <resonance/core/std.hpp>

#if defined(RESONANCE_SIMT)
#include RESONANCE_SIMT
#define RESONANCE_SHARED_ARRAY(T, name, count) SIMT_SHARED_ARRAY(T, name, count)
#define RESONANCE_DYNAMIC_SHARED(name) SIMT_DYNAMIC_SHARED(name)
#elif defined(__CUDACC__)
//! An array of the block in shared memory; `count` is a constant.
#define RESONANCE_SHARED_ARRAY(T, name, count) __shared__ T name[count]
//! The launch's dynamic shared memory, 16-byte aligned bytes; once per kernel.
#define RESONANCE_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#error "resonance: device headers (.cuh) need a CUDA compiler"
#endif

RESONANCE_NAMESPACE_BEGIN

inline constexpr int warp_size = 32;
inline constexpr unsigned full_mask = 0xffffffffu;

//! Who calls: the executor of the tests tells barriers and memory accesses apart by it; empty under nvcc.
#if defined(RESONANCE_SIMT)
struct call_site {
  const char* file;
  int line;
  static call_site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};
#else
struct call_site {
  RESONANCE_DEVICE static constexpr call_site here() { return {}; }
};
#endif

//! Index of the calling thread in its block, whatever the block's shape; and the number of threads.
RESONANCE_DEVICE int block_thread() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
RESONANCE_DEVICE int block_threads() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }
RESONANCE_DEVICE int lane_id() { return block_thread() % warp_size; }
RESONANCE_DEVICE int warp_id() { return block_thread() / warp_size; }
RESONANCE_DEVICE std::int64_t block_index() { return static_cast<std::int64_t>(blockIdx.x); }
RESONANCE_DEVICE std::int64_t block_count() { return static_cast<std::int64_t>(gridDim.x); }

//! Barrier of the whole block: what was written to shared or global memory before it is read after it.
RESONANCE_DEVICE void sync_block(call_site site = call_site::here()) {
#if defined(RESONANCE_SIMT)
  SIMT_BARRIER(site.file, site.line);
#else
  static_cast<void>(site);
  __syncthreads();
#endif
}

//! Set bits, and the bits below a lane.
RESONANCE_DEVICE int count_bits(unsigned mask) { return __popc(mask); }
RESONANCE_DEVICE unsigned lanes_below(int lane) { return (1u << lane) - 1u; }
//! Place of the lowest set bit; mask != 0.
RESONANCE_DEVICE int first_bit(unsigned mask) { return count_bits((mask & (0u - mask)) - 1u); }

RESONANCE_DEVICE void fence_device() { __threadfence(); }

template <class T>
RESONANCE_DEVICE T atomic_add(T* target, T value) {
  return atomicAdd(target, value);
}
RESONANCE_DEVICE unsigned atomic_max(unsigned* target, unsigned value) { return atomicMax(target, value); }
RESONANCE_DEVICE unsigned long long atomic_max(unsigned long long* target, unsigned long long value) {
  return atomicMax(target, value);
}

//! First line of every kernel. Programmatic dependent launch: waits until the kernel before this one has written
//! everything, and lets the next one be set up meanwhile, which waits in its turn. Does nothing where the launch did
//! not ask for the overlap.
RESONANCE_DEVICE void wait_for_previous_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

//! `Size` neighbouring threads of one warp (a power of two, 1 to 32), aligned to Size. All calls: all threads of the
//! tile, converged; tiles of a warp may differ in what they do.
template <int Size>
struct warp_tile {
  static_assert(Size >= 1 && Size <= warp_size && (Size & (Size - 1)) == 0,
                "resonance: a tile has 1, 2, 4, 8, 16 or 32 threads");
  RESONANCE_HOST_DEVICE static constexpr int size() { return Size; }
  RESONANCE_DEVICE static int rank() { return lane_id() % Size; }
  RESONANCE_DEVICE static unsigned mask() {
    return Size == warp_size ? full_mask : ((1u << (Size % warp_size)) - 1u) << (lane_id() / Size * Size);
  }
  //! What the threads wrote before is read after.
  RESONANCE_DEVICE static void sync() {
    if constexpr (Size > 1) __syncwarp(mask());
  }
  //! The value of thread `source` of the tile.
  template <class T>
  RESONANCE_DEVICE static T shuffle(T value, int source) {
    if constexpr (Size == 1) return value;
    return __shfl_sync(mask(), value, source, Size);
  }
  template <class T>
  RESONANCE_DEVICE static T shuffle_xor(T value, int distance) {
    if constexpr (Size == 1) return value;
    return __shfl_xor_sync(mask(), value, distance, Size);
  }
  //! The value of the thread `distance` below; the thread's own where there is none.
  template <class T>
  RESONANCE_DEVICE static T shuffle_up(T value, int distance) {
    if constexpr (Size == 1) return value;
    return __shfl_up_sync(mask(), value, static_cast<unsigned>(distance), Size);
  }
  //! Bit r: thread r's answer.
  RESONANCE_DEVICE static unsigned ballot(bool answer) {
    if constexpr (Size == 1) return answer ? 1u : 0u;
    const unsigned all = __ballot_sync(mask(), answer ? 1 : 0);
    return Size == warp_size ? all : (all >> (lane_id() / Size * Size)) & ((1u << (Size % warp_size)) - 1u);
  }
  RESONANCE_DEVICE static bool any(bool answer) { return ballot(answer) != 0; }

  //! op over the tile, in every thread: a tree of neighbours (0 with 1, 2 with 3, ...; then pairs of those).
  template <class T, class Op>
  RESONANCE_DEVICE static T reduce(T value, const Op& op) {
    RESONANCE_UNROLL
    for (int distance = 1; distance < Size; distance *= 2) value = op(value, shuffle_xor(value, distance));
    return value;
  }
  template <class T>
  RESONANCE_DEVICE static T sum(T value) {
    return reduce(value, [](T a, T b) { return a + b; });
  }
  template <class T>
  RESONANCE_DEVICE static T max(T value) {
    return reduce(value, [](T a, T b) { return a > b ? a : b; });
  }
  //! Sum over the threads below and this one. T: an integer type, so that the order of additions is no question.
  template <class T>
  RESONANCE_DEVICE static T inclusive_sum(T value) {
    RESONANCE_UNROLL
    for (int distance = 1; distance < Size; distance *= 2) {
      const T below = shuffle_up(value, distance);
      value += rank() >= distance ? below : T{0};
    }
    return value;
  }

  //! Bit r: thread r holds the same value; `bits`: how many low bits can differ.
  RESONANCE_DEVICE static unsigned peers(unsigned value, int bits) {
    unsigned same = Size == warp_size ? full_mask : (1u << (Size % warp_size)) - 1u;
    for (int bit = 0; bit < bits; ++bit) {
      const bool set = ((value >> bit) & 1u) != 0;
      const unsigned with = ballot(set);
      same &= set ? with : ~with;
    }
    return same;
  }
};

//! A team: threads that share one piece of work. Bodies that take a team run with a warp or with a block.
//!
//! sum, max and exclusive_sum are called by all threads of the team and give every thread the result; the block's keep
//! partial results in the scratch that it was made with and end with a barrier, so that it may be reused at once.
struct warp_team : warp_tile<warp_size> {
  //! Sum over the threads of lower rank; `total` gets the sum of all.
  template <class T>
  RESONANCE_DEVICE static T exclusive_sum(T value, T& total) {
    const T inclusive = inclusive_sum(value);
    total = shuffle(inclusive, warp_size - 1);
    return inclusive - value;
  }
};

class block_team {
 public:
  static constexpr int scratch_words = warp_size;

  //! `scratch`: uint64[scratch_words] in shared memory, the team's own. The block has a whole number of warps.
  RESONANCE_DEVICE explicit block_team(std::uint64_t* scratch) : scratch_(scratch) {}

  RESONANCE_DEVICE static int rank() { return block_thread(); }
  RESONANCE_DEVICE static int size() { return block_threads(); }
  RESONANCE_DEVICE static void sync(call_site site = call_site::here()) { sync_block(site); }

  template <class T>
  RESONANCE_DEVICE T sum(T value, call_site site = call_site::here()) const {
    return combine(
        warp_team::sum(value), [](T a, T b) { return a + b; }, site);
  }
  template <class T>
  RESONANCE_DEVICE T max(T value, call_site site = call_site::here()) const {
    return combine(
        warp_team::max(value), [](T a, T b) { return a > b ? a : b; }, site);
  }
  template <class T>
  RESONANCE_DEVICE T exclusive_sum(T value, T& total, call_site site = call_site::here()) const {
    T* partial = partials<T>();
    const T inclusive = warp_team::inclusive_sum(value);
    if (lane_id() == warp_size - 1) partial[warp_id()] = inclusive;
    sync_block(site);
    T below = 0;
    total = 0;
    for (int warp = 0; warp < size() / warp_size; ++warp) {
      below += warp < warp_id() ? partial[warp] : T{0};
      total += partial[warp];
    }
    sync_block(site);
    return below + inclusive - value;
  }

 private:
  template <class T>
  RESONANCE_DEVICE T* partials() const {
    static_assert(sizeof(T) <= sizeof(std::uint64_t), "resonance: a team combines values of 8 bytes at most");
    return reinterpret_cast<T*>(scratch_);
  }
  template <class T, class Op>
  RESONANCE_DEVICE T combine(T of_warp, const Op& op, call_site site) const {
    T* partial = partials<T>();
    if (lane_id() == 0) partial[warp_id()] = of_warp;
    sync_block(site);
    T all = partial[0];
    for (int warp = 1; warp < size() / warp_size; ++warp) all = op(all, partial[warp]);
    sync_block(site);
    return all;
  }

  std::uint64_t* scratch_;
};

RESONANCE_NAMESPACE_END

#endif

// SPDX-License-Identifier: Apache-2.0
// Address space without memory behind it: arrays past 2^31 elements of which a test touches a few pages.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

namespace support {

//! `size` zeroed elements; a page takes memory when it is first touched. Test valid() before use: an address-space
//! limit (ulimit -v, some sanitizers) can refuse the mapping.
template <class Value>
class sparse_mapping {
 public:
  explicit sparse_mapping(std::size_t size) : size_(size) {
    base_ = ::mmap(nullptr, size_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    // Whole huge pages would be given to single touched bytes.
    if (valid()) ::madvise(base_, size_bytes(), MADV_NOHUGEPAGE);
  }
  ~sparse_mapping() {
    if (valid()) ::munmap(base_, size_bytes());
  }
  sparse_mapping(const sparse_mapping&) = delete;
  sparse_mapping& operator=(const sparse_mapping&) = delete;

  bool valid() const { return base_ != MAP_FAILED; }
  Value* data() { return static_cast<Value*>(base_); }
  const Value* data() const { return static_cast<const Value*>(base_); }
  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return size_ * sizeof(Value); }
  Value& operator[](std::size_t i) { return data()[i]; }
  const Value& operator[](std::size_t i) const { return data()[i]; }

  //! Memory that the mapping takes now, in whole pages.
  std::size_t resident_bytes() const {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t pages_at_once = std::size_t{1} << 20;
    std::vector<unsigned char> present(pages_at_once);
    std::size_t resident = 0;
    for (std::size_t first = 0; first < size_bytes(); first += pages_at_once * page) {
      const std::size_t bytes =
          first + pages_at_once * page < size_bytes() ? pages_at_once * page : size_bytes() - first;
      if (::mincore(static_cast<char*>(base_) + first, bytes, present.data()) != 0) return size_bytes();
      for (std::size_t p = 0; p < (bytes + page - 1) / page; ++p) resident += (present[p] & 1) != 0 ? page : 0;
    }
    return resident;
  }

 private:
  std::size_t size_;
  void* base_;
};

}  // namespace support

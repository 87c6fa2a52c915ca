// SPDX-License-Identifier: Apache-2.0
// A buffer that shows what was written to it and around it.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

namespace support {

//! `size` elements of poison between two canaries of 64 bytes. The first element is 64-byte aligned plus
//! `misalignment` elements, so that code for unaligned rows can be reached. A value written that equals the poison
//! byte for byte (0xA5...) goes unseen.
template <class Value>
class guarded_buffer {
  static_assert(std::is_trivially_copyable<Value>::value, "poison is a pattern of bytes");

 public:
  static constexpr std::size_t canary_bytes = 64;
  static constexpr unsigned char poison = 0xA5;
  static constexpr unsigned char canary = 0xC3;

  explicit guarded_buffer(std::size_t size, std::size_t misalignment = 0)
      : size_(size),
        begin_(canary_bytes + misalignment * sizeof(Value)),
        storage_(static_cast<unsigned char*>(
            ::operator new (begin_ + size * sizeof(Value) + canary_bytes, std::align_val_t{64}))) {
    std::memset(storage_.get(), canary, begin_ + size_ * sizeof(Value) + canary_bytes);
    repoison();
  }

  Value* data() { return reinterpret_cast<Value*>(storage_.get() + begin_); }
  const Value* data() const { return reinterpret_cast<const Value*>(storage_.get() + begin_); }
  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return size_ * sizeof(Value); }
  Value* begin() { return data(); }
  Value* end() { return data() + size_; }
  const Value* begin() const { return data(); }
  const Value* end() const { return data() + size_; }
  Value& operator[](std::size_t i) { return data()[i]; }
  const Value& operator[](std::size_t i) const { return data()[i]; }

  void repoison() { std::memset(storage_.get() + begin_, poison, size_bytes()); }

  //! Nothing was written outside the elements.
  bool intact() const { return holds(0, begin_, canary) && holds(begin_ + size_bytes(), canary_bytes, canary); }

  //! Nothing was written at all.
  bool untouched() const { return intact() && untouched(0, size_); }

  //! Nothing was written to `count` elements from `first` on.
  bool untouched(std::size_t first, std::size_t count) const {
    return holds(begin_ + first * sizeof(Value), count * sizeof(Value), poison);
  }

 private:
  struct aligned_delete {
    void operator()(unsigned char* bytes) const { ::operator delete (bytes, std::align_val_t{64}); }
  };

  bool holds(std::size_t first, std::size_t count, unsigned char expected) const {
    for (std::size_t i = first; i < first + count; ++i)
      if (storage_.get()[i] != expected) return false;
    return true;
  }

  std::size_t size_;
  std::size_t begin_;
  std::unique_ptr<unsigned char, aligned_delete> storage_;
};

}  // namespace support

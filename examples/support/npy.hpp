// SPDX-License-Identifier: Apache-2.0
// Loads and saves arrays as NumPy's .npy files; npy_header.hpp says which ones.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "npy_header.hpp"

namespace npy {

namespace detail {

struct close_file {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using file_handle = std::unique_ptr<std::FILE, close_file>;

}  // namespace detail

//! An array as it was read. The payload stays in the file's own bytes, whatever their alignment.
struct array {
  header head;
  std::vector<unsigned char> file;

  const std::vector<std::size_t>& shape() const { return head.shape; }
  dtype type() const { return head.type; }

  //! The elements as a vector; empty where T is not this array's type (compare `type()` first).
  template <class T>
  std::vector<T> values() const {
    if (dtype_of<T>::value != head.type) return {};
    std::vector<T> out(head.count());
    if (!out.empty()) std::memcpy(out.data(), file.data() + head.payload_offset, head.payload_bytes);
    return out;
  }
};

inline result<array> load(const std::string& path, const expect& wanted = {}) {
  result<array> out;
  const auto fail = [&](const std::string& fault) {
    out.value = {};
    out.error = path + ": " + fault;
    return out;
  };
  std::error_code code;
  const auto kind = std::filesystem::status(path, code);
  if (!std::filesystem::exists(kind)) return fail("no such file");
  if (!std::filesystem::is_regular_file(kind)) return fail("not a regular file");
  const auto size = std::filesystem::file_size(path, code);
  const detail::file_handle file(std::fopen(path.c_str(), "rb"));
  if (code || !file) return fail("cannot be opened for reading");
  out.value.file.resize(static_cast<std::size_t>(size));
  if (std::fread(out.value.file.data(), 1, out.value.file.size(), file.get()) != out.value.file.size())
    return fail("cannot be read to its end");
  auto head = parse(out.value.file.data(), out.value.file.size(), path, wanted);
  out.value.head = std::move(head.value);
  if (!head) out.value = {};
  out.error = std::move(head.error);
  return out;
}

//! Writes a C-order array. Returns "" or one line that names the file and the fault; a file half written is removed.
template <class T>
std::string save(const std::string& path, const std::vector<std::size_t>& shape, const T* values) {
  std::size_t count = 1;
  for (const std::size_t extent : shape) count *= extent;
  const std::string head = header_bytes(dtype_of<T>::value, shape);
  detail::file_handle file(std::fopen(path.c_str(), "wb"));
  if (!file) return path + ": cannot be opened for writing";
  const bool written = std::fwrite(head.data(), 1, head.size(), file.get()) == head.size() &&
                       (count == 0 || std::fwrite(values, sizeof(T), count, file.get()) == count);
  // fclose flushes, and a full disk may show only there.
  if (std::fclose(file.release()) == 0 && written) return {};
  std::error_code code;
  if (std::filesystem::is_regular_file(path, code)) std::filesystem::remove(path, code);
  return path + ": cannot be written to its end";
}

}  // namespace npy

// SPDX-License-Identifier: Apache-2.0
// The header of NumPy's .npy files: formats 1.0, 2.0 and 3.0, C order, little-endian, the dtypes that a router meets.
// The file is the only authority on its size: nothing is allocated on the word of a header, so hostile files are safe.
#pragma once

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "npy_header.hpp takes little-endian payloads as they are and needs a little-endian machine"
#endif

namespace npy {

enum class dtype { float32, float16, int32, uint8 };

inline constexpr dtype all_dtypes[] = {dtype::float32, dtype::float16, dtype::int32, dtype::uint8};

inline const char* name_of(dtype type) {
  constexpr const char* names[] = {"float32", "float16", "int32", "uint8"};
  return names[static_cast<int>(type)];
}

inline const char* descr_of(dtype type) {
  constexpr const char* descrs[] = {"<f4", "<f2", "<i4", "|u1"};
  return descrs[static_cast<int>(type)];
}

inline std::size_t size_of(dtype type) {
  constexpr std::size_t sizes[] = {4, 2, 4, 1};
  return sizes[static_cast<int>(type)];
}

//! The C++ type that holds one element; float16 travels as its raw 16 bits.
template <class T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr dtype value = dtype::float32;
};
template <>
struct dtype_of<std::uint16_t> {
  static constexpr dtype value = dtype::float16;
};
template <>
struct dtype_of<std::int32_t> {
  static constexpr dtype value = dtype::int32;
};
template <>
struct dtype_of<std::uint8_t> {
  static constexpr dtype value = dtype::uint8;
};

//! A value, or one line that names the file and its fault.
template <class T>
struct result {
  T value{};
  std::string error;
  explicit operator bool() const { return error.empty(); }
};

//! What the caller can use: a file with another rank or dtype is refused with a message that says so.
struct expect {
  static constexpr int any_rank = -1;
  int rank = any_rank;
  std::vector<dtype> types = {std::begin(all_dtypes), std::end(all_dtypes)};
};

struct header {
  dtype type = dtype::float32;
  std::vector<std::size_t> shape;
  std::size_t payload_offset = 0;
  std::size_t payload_bytes = 0;
  std::size_t count() const { return payload_bytes / size_of(type); }
};

namespace detail {

// Text from a file goes into a one-line message: keep it short and printable.
inline std::string printable(const std::string& text) {
  std::string out = "'";
  for (const char c : text.substr(0, 40)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > 40 ? "...'" : "'");
}

inline std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string out = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + (shape.size() == 1 ? ",)" : ")");
}

inline bool product_overflows(std::size_t a, std::size_t b) {
  return a != 0 && b > std::numeric_limits<std::size_t>::max() / a;
}

// The header is a Python dict literal of three known keys; this reads just that much of Python.
class literal {
 public:
  literal(const char* begin, const char* end) : at_(begin), end_(end) {}

  bool take(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }
  bool next_is(char wanted) {
    skip_space();
    return at_ != end_ && *at_ == wanted;
  }
  bool finished() {
    skip_space();
    return at_ == end_;
  }
  bool string(std::string& out) {
    skip_space();
    if (at_ == end_ || (*at_ != '\'' && *at_ != '"')) return false;
    const char quote = *at_++;
    const char* begin = at_;
    while (at_ != end_ && *at_ != quote) ++at_;
    if (at_ == end_) return false;
    out.assign(begin, at_++);
    return true;
  }
  bool boolean(bool& out) {
    skip_space();
    for (const bool candidate : {true, false}) {
      const std::string word = candidate ? "True" : "False";
      const auto left = static_cast<std::size_t>(end_ - at_);
      if (left < word.size() || word.compare(0, word.size(), at_, word.size()) != 0) continue;
      at_ += word.size();
      out = candidate;
      return true;
    }
    return false;
  }
  // A tuple of non-negative integers; `fits` turns false where one exceeds size_t.
  bool tuple(std::vector<std::size_t>& out, bool& fits) {
    if (!take('(')) return false;
    while (!take(')')) {
      skip_space();
      if (at_ == end_ || !std::isdigit(static_cast<unsigned char>(*at_))) return false;
      std::size_t value = 0;
      for (; at_ != end_ && std::isdigit(static_cast<unsigned char>(*at_)); ++at_) {
        const auto digit = static_cast<std::size_t>(*at_ - '0');
        if (value > (std::numeric_limits<std::size_t>::max() - digit) / 10)
          fits = false;
        else
          value = value * 10 + digit;
      }
      out.push_back(value);
      if (!take(',') && !next_is(')')) return false;
    }
    return true;
  }

 private:
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }
  const char* at_;
  const char* end_;
};

struct fields {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::size_t> shape;
  bool shape_fits = true;
};

// False where the dict is not one of exactly these three keys. A structured dtype (a list) ends the reading early
// with the descr "structured": its grammar is of no use to a caller that refuses it anyway.
inline bool read_fields(literal text, fields& out) {
  bool has_descr = false, has_order = false, has_shape = false;
  if (!text.take('{')) return false;
  while (!text.take('}')) {
    std::string key;
    if (!text.string(key) || !text.take(':')) return false;
    bool read = false;
    if (key == "descr" && !has_descr) {
      if (text.next_is('[')) {
        out.descr = "structured";
        return true;
      }
      read = has_descr = text.string(out.descr);
    } else if (key == "fortran_order" && !has_order) {
      read = has_order = text.boolean(out.fortran_order);
    } else if (key == "shape" && !has_shape) {
      read = has_shape = text.tuple(out.shape, out.shape_fits);
    }
    if (!read || (!text.take(',') && !text.next_is('}'))) return false;
  }
  return text.finished() && has_descr && has_order && has_shape;
}

inline std::string wanted_types(const expect& wanted) {
  std::string out;
  for (std::size_t i = 0; i < wanted.types.size(); ++i)
    out += (i == 0 ? "" : i + 1 == wanted.types.size() ? " or " : ", ") + std::string(name_of(wanted.types[i]));
  return out;
}

inline bool find_type(const std::string& descr, dtype& out) {
  for (const dtype type : all_dtypes) {
    if (descr != descr_of(type)) continue;
    out = type;
    return true;
  }
  return false;
}

inline bool accepts(const expect& wanted, dtype type) {
  for (const dtype candidate : wanted.types)
    if (candidate == type) return true;
  return false;
}

// The size of the payload, or an error: every product is checked before it is formed.
inline std::string check_shape(const fields& read, std::size_t found, header& out) {
  if (read.shape.size() > 64) return "more than 64 dimensions";
  // Zeros are left out of this product, so that a shape such as (0, 2^62) is refused too.
  std::size_t nonzero = size_of(out.type);
  bool overflow = !read.shape_fits, empty = false;
  for (const std::size_t extent : read.shape) {
    if (overflow) break;
    empty = empty || extent == 0;
    if (extent == 0) continue;
    overflow = product_overflows(nonzero, extent);
    if (!overflow) nonzero *= extent;
  }
  if (overflow) return "the shape is too large for this machine";
  const std::size_t needed = empty ? 0 : nonzero;
  if (needed != found) {
    return std::string(needed > found ? "truncated" : "data after the end") + ": shape " + shape_text(read.shape) +
           " of " + name_of(out.type) + " wants " + std::to_string(needed) + " bytes of data, found " +
           std::to_string(found);
  }
  out.shape = read.shape;
  out.payload_bytes = needed;
  return {};
}

inline std::string parse(const unsigned char* bytes, std::size_t size, const expect& wanted, header& out) {
  static constexpr unsigned char magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
  if (size < sizeof magic || std::memcmp(bytes, magic, sizeof magic) != 0) return "not a .npy file";
  if (size < 8) return "truncated: ends inside the .npy header";
  const int major = bytes[6], minor = bytes[7];
  if (major < 1 || major > 3 || minor != 0)
    return "unsupported .npy version " + std::to_string(major) + "." + std::to_string(minor);
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  const std::size_t text_offset = 8 + length_bytes;
  if (size < text_offset) return "truncated: ends inside the .npy header";
  std::size_t text_length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) text_length |= static_cast<std::size_t>(bytes[8 + i]) << (8 * i);
  if (text_length > size - text_offset) {
    return "truncated: the .npy header wants " + std::to_string(text_length) + " bytes, found " +
           std::to_string(size - text_offset);
  }
  const char* text = reinterpret_cast<const char*>(bytes + text_offset);
  fields read;
  if (!read_fields(literal(text, text + text_length), read)) return "malformed .npy header";
  if (!find_type(read.descr, out.type) || !accepts(wanted, out.type))
    return "unsupported dtype " + printable(read.descr) + ", want " + wanted_types(wanted);
  if (read.fortran_order) return "Fortran order is not supported, save a C-order array";
  if (wanted.rank != expect::any_rank && read.shape.size() != static_cast<std::size_t>(wanted.rank)) {
    return "wrong rank: want " + std::to_string(wanted.rank) + " dimensions, found " +
           std::to_string(read.shape.size());
  }
  out.payload_offset = text_offset + text_length;
  return check_shape(read, size - out.payload_offset, out);
}

}  // namespace detail

//! Checks the bytes of a whole .npy file and says where its payload lies. `name` is for the message only.
inline result<header> parse(const void* bytes, std::size_t size, const std::string& name, const expect& wanted = {}) {
  result<header> out;
  const std::string fault = detail::parse(static_cast<const unsigned char*>(bytes), size, wanted, out.value);
  if (!fault.empty()) out.error = name + ": " + fault;
  return out;
}

//! The first bytes of a version 1.0 file, padded as NumPy does so that the payload starts on a multiple of 64.
inline std::string header_bytes(dtype type, const std::vector<std::size_t>& shape) {
  std::string text = std::string("{'descr': '") + descr_of(type) +
                     "', 'fortran_order': False, 'shape': " + detail::shape_text(shape) + ", }";
  constexpr std::size_t before_text = 10;
  text.append(63 - (before_text + text.size()) % 64, ' ');
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(text.size() & 0xff);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}

}  // namespace npy

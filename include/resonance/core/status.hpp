// SPDX-License-Identifier: Apache-2.0
//! \file
//! What every host-side call returns: a code and the name of the argument that it is about.
#ifndef RESONANCE_CORE_STATUS_HPP
#define RESONANCE_CORE_STATUS_HPP

#include <resonance/config.hpp>

RESONANCE_NAMESPACE_BEGIN

enum class status_code : int {
  ok = 0,
  null_pointer,         //!< a required array is missing
  out_of_range,         //!< a number outside its domain, NaN included
  shape_mismatch,       //!< two arguments disagree on a dimension
  index_overflow,       //!< a count does not fit the index type, or 64 bits
  workspace_too_small,  //!< null, or fewer bytes than the query answered
  launch_failed,        //!< the device refused a kernel; `argument` is CUDA's name of the error
};

//! A code and the argument it is about. Nothing has been written when the code is not ok.
struct [[nodiscard]] status {
  status_code code = status_code::ok;
  const char* argument = "";  //!< static string: the argument's name, "" when ok

  constexpr bool ok() const { return code == status_code::ok; }
  constexpr explicit operator bool() const { return ok(); }

  //! A static English sentence for the code; print it after `argument`.
  constexpr const char* message() const {
    switch (code) {
      case status_code::ok: return "ok";
      case status_code::null_pointer: return "must not be null";
      case status_code::out_of_range: return "is out of range";
      case status_code::shape_mismatch: return "does not match the other shapes";
      case status_code::index_overflow: return "is too large for the index type";
      case status_code::workspace_too_small: return "is smaller than the workspace query says";
      case status_code::launch_failed: return "is what the kernel launch answered";
    }
    return "unknown status";
  }
};

constexpr bool operator==(const status& a, const status& b) { return a.code == b.code; }
constexpr bool operator!=(const status& a, const status& b) { return a.code != b.code; }

namespace detail {

//! The first failure of a list of checks wins, so that a stage's validation reads as a table.
class checks {
 public:
  constexpr checks& require(bool holds, status_code code, const char* argument) {
    if (result_.ok() && !holds) result_ = status{code, argument};
    return *this;
  }
  constexpr checks& present(const void* pointer, bool needed, const char* argument) {
    return require(!needed || pointer != nullptr, status_code::null_pointer, argument);
  }
  constexpr checks& in_range(bool holds, const char* argument) {
    return require(holds, status_code::out_of_range, argument);
  }
  constexpr checks& matches(bool holds, const char* argument) {
    return require(holds, status_code::shape_mismatch, argument);
  }
  constexpr checks& fits(bool holds, const char* argument) {
    return require(holds, status_code::index_overflow, argument);
  }
  constexpr checks& also(const status& other) {
    if (result_.ok()) result_ = other;
    return *this;
  }
  constexpr status result() const { return result_; }

 private:
  status result_{};
};

}  // namespace detail

RESONANCE_NAMESPACE_END

#endif

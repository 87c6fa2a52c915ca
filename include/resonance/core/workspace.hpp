// SPDX-License-Identifier: Apache-2.0
//! \file
//! Carving a caller's workspace: the same code answers the size query and hands out the pieces.
#ifndef RESONANCE_CORE_WORKSPACE_HPP
#define RESONANCE_CORE_WORKSPACE_HPP

#include <resonance/config.hpp>
#include <resonance/core/status.hpp>
#include <resonance/core/std.hpp>

RESONANCE_NAMESPACE_BEGIN

//! Scratch memory of the caller's: any alignment, contents undefined before and after a call.
struct workspace_view {
  void* data = nullptr;
  std::size_t bytes = 0;
};

namespace detail {

inline constexpr std::size_t workspace_alignment = 64;

//! Hands out 64-byte aligned pieces in order. On a null base it only counts.
class workspace_carver {
 public:
  workspace_carver() = default;
  explicit workspace_carver(void* base) {
    const auto address = reinterpret_cast<std::uintptr_t>(base);
    const auto aligned = (address + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
    base_ = static_cast<char*>(base) + (aligned - address);
  }

  template <class T>
  T* take(std::int64_t count) {
    T* piece = base_ != nullptr ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    used_ += (bytes + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
    return piece;
  }

  //! What to ask the caller for: the pieces, and the slack that aligning any base may cost.
  std::size_t bytes() const { return used_ == 0 ? 0 : used_ + workspace_alignment - 1; }

 private:
  char* base_ = nullptr;
  std::size_t used_ = 0;
};

inline status check_workspace(const workspace_view& workspace, std::size_t needed) {
  return checks{}
      .require(needed == 0 || (workspace.data != nullptr && workspace.bytes >= needed),
               status_code::workspace_too_small, "workspace")
      .result();
}

}  // namespace detail

RESONANCE_NAMESPACE_END

#endif

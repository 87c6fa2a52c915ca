// SPDX-License-Identifier: Apache-2.0
//! \file
//! Reports: printed at once, counted, and kept for the tests.
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "state.hpp"

namespace simt {

namespace {

constexpr std::size_t most_kept = 64;
std::size_t count = 0;
std::vector<std::string> kept;

struct message {
  const char* format;
  std::va_list arguments;
};

void print(void* data) {
  auto& what = *static_cast<message*>(data);
  char text[1024];
  int length = std::snprintf(text, sizeof text, "launch %zu %s", detail::current_launch.number, detail::kernel_name());
  const auto append = [&](const char* format, auto... values) {
    length += std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length), format, values...);
    if (length >= static_cast<int>(sizeof text)) length = sizeof text - 1;
  };
  if (length >= static_cast<int>(sizeof text)) length = sizeof text - 1;
  const uint3 block = detail::current_block.index;
  append(" block (%u,%u,%u)", block.x, block.y, block.z);
  if (detail::running != nullptr) {
    const uint3 thread = detail::running->index;
    append(" thread (%u,%u,%u)", thread.x, thread.y, thread.z);
  }
  append("%s", ": ");
  std::vsnprintf(text + length, sizeof text - static_cast<std::size_t>(length), what.format, what.arguments);
  std::fprintf(stderr, "simt: %s\n", text);
  ++count;
  if (kept.size() < most_kept) kept.emplace_back(text);
}

}  // namespace

std::size_t errors() { return count; }

std::vector<std::string> take_reports() {
  std::vector<std::string> taken;
  taken.swap(kept);
  count = 0;
  return taken;
}

namespace detail {

void report(const char* format, ...) {
  message what{format, {}};
  va_start(what.arguments, format);
  on_host_stack(print, &what);
  va_end(what.arguments);
}

//! By the program's own symbols; only programs linked with exported symbols (-rdynamic) have them.
const char* kernel_name() {
  static std::string name;
  Dl_info found{};
  const void* address = reinterpret_cast<const void*>(current_launch.kernel);
  if (dladdr(address, &found) == 0 || found.dli_sname == nullptr || found.dli_saddr != address) return "unnamed kernel";
  int status = 0;
  char* readable = abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, &status);
  name = status == 0 ? readable : found.dli_sname;
  std::free(readable);
  // "void kernel<int>(int*)" is known well enough as "kernel<int>".
  if (name.compare(0, 5, "void ") == 0) name.erase(0, 5);
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<';
    depth -= name[i] == '>';
    if (name[i] != '(' || depth != 0 || name.compare(i, 11, "(anonymous ") == 0) continue;
    name.resize(i);
    break;
  }
  return name.c_str();
}

const char* name_of(warp_op op) {
  switch (op) {
    case warp_op::sync: return "__syncwarp";
    case warp_op::ballot: return "__ballot_sync";
    case warp_op::any: return "__any_sync";
    case warp_op::all: return "__all_sync";
    case warp_op::shuffle: return "__shfl_sync";
    case warp_op::shuffle_up: return "__shfl_up_sync";
    case warp_op::shuffle_down: return "__shfl_down_sync";
    case warp_op::shuffle_xor: return "__shfl_xor_sync";
  }
  return "unknown operation";
}

const char* name_of(vote kind) {
  switch (kind) {
    case vote::none: return "__syncthreads";
    case vote::any: return "__syncthreads_or";
    case vote::all: return "__syncthreads_and";
    case vote::count: return "__syncthreads_count";
  }
  return "unknown barrier";
}

}  // namespace detail
}  // namespace simt

// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: whatever the bytes, the .npy parser refuses them with one line or describes exactly what it got.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "support/npy_header.hpp"

namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

void check(const std::uint8_t* data, std::size_t size, const npy::expect& wanted) {
  const auto parsed = npy::parse(data, size, "fuzz", wanted);
  if (!parsed) {
    demand(parsed.error.compare(0, 6, "fuzz: ") == 0);
    demand(parsed.error.find('\n') == std::string::npos);
    return;
  }
  const npy::header& head = parsed.value;
  std::size_t bytes = npy::size_of(head.type);
  for (const std::size_t extent : head.shape) bytes *= extent;
  demand(bytes == head.payload_bytes);
  demand(head.payload_offset <= size && head.payload_offset + head.payload_bytes == size);
  demand(wanted.rank == npy::expect::any_rank || head.shape.size() == static_cast<std::size_t>(wanted.rank));

  // What was read can be written, and reads back as the same array.
  std::string copy = npy::header_bytes(head.type, head.shape);
  demand(copy.size() % 64 == 0);
  copy.append(reinterpret_cast<const char*>(data) + head.payload_offset, head.payload_bytes);
  const auto again = npy::parse(copy.data(), copy.size(), "copy", wanted);
  demand(static_cast<bool>(again));
  demand(again.value.type == head.type && again.value.shape == head.shape);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check(data, size, {});
  check(data, size, {2, {npy::dtype::float32, npy::dtype::float16}});
  return 0;
}

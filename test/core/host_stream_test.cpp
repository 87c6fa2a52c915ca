// SPDX-License-Identifier: Apache-2.0
#include "resonance/core/host_stream.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <vector>

namespace {

TEST(HostStream, CopiesEveryLengthToEveryAlignment) {
  std::vector<unsigned char> from(512);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(i * 7 + 1);
  for (std::size_t shift = 0; shift < 20; ++shift) {
    for (std::size_t bytes = 0; bytes <= 300; ++bytes) {
      std::vector<unsigned char> to(512, 0xee);
      resonance::detail::copy_streaming(to.data() + shift, from.data() + 3, bytes);
      resonance::detail::finish_streaming();
      ASSERT_EQ(std::memcmp(to.data() + shift, from.data() + 3, bytes), 0) << shift << " " << bytes;
      for (std::size_t i = 0; i < to.size(); ++i) {
        const bool inside = i >= shift && i < shift + bytes;
        ASSERT_TRUE(inside || to[i] == 0xee) << shift << " " << bytes << " " << i;
      }
    }
  }
}

}  // namespace

// SPDX-License-Identifier: Apache-2.0
#include <resonance/version.hpp>

#include <cstdio>
#include <string>

std::string plain_answer();
std::string optimized_answer();

int main() {
  const std::string plain = plain_answer();
  if (plain != optimized_answer() || plain == "refused") {
    std::printf("the two translation units disagree:\n%s\n%s\n", plain.c_str(), optimized_answer().c_str());
    return 1;
  }
  std::printf("resonance %d.%d.%d: ok\n", RESONANCE_VERSION_MAJOR, RESONANCE_VERSION_MINOR, RESONANCE_VERSION_PATCH);
}

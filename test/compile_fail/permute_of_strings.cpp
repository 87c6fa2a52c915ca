// SPDX-License-Identifier: Apache-2.0
// expect: permute copies rows of trivially copyable elements
#include <resonance/permute/host_permute.hpp>

#include <string>

resonance::status permuted(resonance::matrix_view<const std::string> x, const resonance::permute::row_plan<>& plan,
                           resonance::matrix_view<std::string> out) {
  return resonance::permute::host_permute(resonance::serial_executor{}, x, plan, out);
}

int main() {}

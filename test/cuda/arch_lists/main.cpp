// SPDX-License-Identifier: Apache-2.0
// Plain C++ passes the library's views to units that were compiled for different devices.
#include <resonance/core/status.hpp>
#include <resonance/core/views.hpp>

resonance::status scale_first(resonance::matrix_view<float> rows);
resonance::status scale_second(resonance::matrix_view<float> rows);

int main() {
  const resonance::matrix_view<float> nothing(nullptr, 0, 0);
  return scale_first(nothing).ok() && scale_second(nothing).ok() ? 0 : 1;
}

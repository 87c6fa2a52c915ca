// SPDX-License-Identifier: Apache-2.0
// expect: executor_openmp.hpp needs the compiler's OpenMP flag
#include <resonance/core/executor_openmp.hpp>

int main() {}

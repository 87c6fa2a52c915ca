// SPDX-License-Identifier: Apache-2.0
// A kernel and its launcher as a stage of the library has them; two units with other architecture lists include it.
#ifndef RESONANCE_TEST_CUDA_ARCH_LISTS_SCALE_CUH
#define RESONANCE_TEST_CUDA_ARCH_LISTS_SCALE_CUH

#include <resonance/core/launch.cuh>
#include <resonance/core/vector_io.cuh>
#include <resonance/core/views.hpp>

RESONANCE_NAMESPACE_BEGIN
namespace arch_test {
RESONANCE_ARCH_NAMESPACE_BEGIN

template <class T>
__global__ void __launch_bounds__(256) scale_kernel(matrix_view<T> rows, T factor) {
  T* element = rows.row(block_index()) + block_thread();
  if (block_thread() < rows.cols) store(element, load(element) * factor);
}

template <class T>
status device_scale(const device_stream& on, matrix_view<T> rows, T factor) {
  return detail::launch(on, detail::launch_shape{rows.rows, 256, 0}, &scale_kernel<T>, rows, factor);
}

RESONANCE_ARCH_NAMESPACE_END
}  // namespace arch_test
RESONANCE_NAMESPACE_END

#endif

/// \file
/// Kernels are launched by a function, so that a compiler that does not know of CUDA can run them too (tests/cuda_on_cpu).
#pragma once

#include <cuda_runtime.h>

#include "cuda/check.h"

namespace harken::cuda {

/// kernel<<<grid, num_threads, 0, stream>>>(args...)
/// \param what  what errors call it
template <typename... Parameters, typename... Args>
void launch(const char* what, void (*kernel)(Parameters...), dim3 grid, unsigned num_threads, cudaStream_t stream, Args... args) {
#if defined(__CUDACC__)
    kernel<<<grid, num_threads, 0, stream>>>(static_cast<Parameters>(args)...);
#else
    (void)stream;
    cuda_on_cpu::launch<Parameters...>(kernel, grid, num_threads, static_cast<Parameters>(args)...);
#endif
    check(cudaGetLastError(), what);
}

/// Blocks of `size` that hold n things; n is 1 or more and no more than 2^31 blocks hold.
inline unsigned num_blocks(std::size_t n, std::size_t size) { return static_cast<unsigned>((n + size - 1) / size); }

}  // namespace harken::cuda

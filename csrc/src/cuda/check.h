/// \file
/// A CUDA status becomes an Error that says what was tried.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "error.h"

namespace harken::cuda {

inline void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    (void)cudaGetLastError();
    throw Error(status == cudaErrorMemoryAllocation ? HARKEN_OUT_OF_MEMORY : HARKEN_BACKEND_ERROR,
                std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

}  // namespace harken::cuda

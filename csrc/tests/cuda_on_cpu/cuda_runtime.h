/// \file
/// The part of the CUDA runtime that harken uses, on the CPU, for tests: a device's memory is the heap's, kernels are run by
/// block.h when they are launched, streams do nothing later.
///
/// It stands in for the toolkit's header of the same name where .cu files are compiled as C++. A kernel that goes wrong leaves
/// cudaErrorLaunchFailure, whose string says what it did.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>

#include "block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Blocks run one after another on the thread that launches them.
#define __shared__ static thread_local

using std::isfinite;

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorLaunchFailure = 719,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };
using cudaStream_t = struct CUstream_st*;
inline constexpr unsigned cudaStreamNonBlocking = 1;

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceSynchronize();
/// The last failure, which is forgotten.
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);

cudaError_t cudaMalloc(void** data, std::size_t num_bytes);
cudaError_t cudaFree(void* data);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t num_bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t num_bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind);
cudaError_t cudaMemset(void* data, int value, std::size_t num_bytes);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamDestroy(cudaStream_t stream);

inline void __syncthreads() { cuda_on_cpu::barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { (void)cuda_on_cpu::exchange(mask, 0, cuda_on_cpu::own_lane()); }

template <typename T>
T shuffled(unsigned mask, T value, int lane) {
    static_assert(sizeof(T) <= sizeof(std::uint64_t));
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = cuda_on_cpu::exchange(mask, bits, lane);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return shuffled(mask, value, lane);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    return shuffled(mask, value, cuda_on_cpu::own_lane() ^ lanes);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned lanes) {
    return shuffled(mask, value, cuda_on_cpu::own_lane() + static_cast<int>(lanes));
}

// Threads of a block take turns, so plain arithmetic is atomic.
template <typename T>
T atomicAdd(T* at, T value) {
    const T before = *at;
    *at = before + value;
    return before;
}
template <typename T>
T atomicMin(T* at, T value) {
    const T before = *at;
    *at = std::min(before, value);
    return before;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace cuda_on_cpu {

/// kernel<<<grid, num_threads>>>(args...)
template <typename... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Parameters... args) {
    auto body = [&] { kernel(args...); };
    run_grid(grid, block, [](void* context) { (*static_cast<decltype(body)*>(context))(); }, &body);
}

/// Devices that there are, 1 unless a test says otherwise.
void set_num_devices(int count);
/// Bytes that can be allocated from now on; without a limit unless a test says otherwise.
void set_free_bytes(std::size_t num_bytes);
/// Bytes allocated now.
[[nodiscard]] std::size_t used_bytes();

}  // namespace cuda_on_cpu

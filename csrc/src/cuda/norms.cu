// A warp a row.
#include "cuda/norms.h"

#include "cuda/launch.h"
#include "cuda/numbers.h"

namespace harken::cuda {
namespace {

constexpr int kThreads = 128, kRows = kThreads / 32;
constexpr float kMinLength = 1e-12f;

/// The sum over the lanes, in every lane.
__device__ float warp_sum(float x) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

__device__ std::size_t own_row() { return static_cast<std::size_t>(blockIdx.x) * kRows + threadIdx.x / 32; }

__device__ float sum_of_squares(const float* x, std::size_t width, float minus) {
    float sum = 0;
    for (std::size_t i = threadIdx.x % 32; i < width; i += 32) sum += (x[i] - minus) * (x[i] - minus);
    return warp_sum(sum);
}

template <typename T>
__global__ void rms_norm_kernel(const float* x, const float* weight, std::size_t num_rows, std::size_t width, float eps, T* y) {
    const std::size_t row = own_row();
    if (row >= num_rows) return;
    x += row * width;
    const float scale = 1.0f / sqrtf(sum_of_squares(x, width, 0) / static_cast<float>(width) + eps);
    for (std::size_t i = threadIdx.x % 32; i < width; i += 32) store(y + row * width + i, x[i] * scale * weight[i]);
}

template <typename T>
__global__ void layer_norm_kernel(const float* x, const float* weight, const float* bias, std::size_t num_rows,
                                  std::size_t width, float eps, T* y) {
    const std::size_t row = own_row();
    if (row >= num_rows) return;
    x += row * width;
    float sum = 0;
    for (std::size_t i = threadIdx.x % 32; i < width; i += 32) sum += x[i];
    const float mean = warp_sum(sum) / static_cast<float>(width);
    const float scale = 1.0f / sqrtf(sum_of_squares(x, width, mean) / static_cast<float>(width) + eps);
    for (std::size_t i = threadIdx.x % 32; i < width; i += 32)
        store(y + row * width + i, (x[i] - mean) * scale * weight[i] + bias[i]);
}

template <typename T>
__global__ void scale_rows_kernel(const float* x, std::size_t num_rows, std::size_t width, bool unit, T* y) {
    const std::size_t row = own_row();
    if (row >= num_rows) return;
    x += row * width;
    const float length = unit ? fmaxf(sqrtf(sum_of_squares(x, width, 0)), kMinLength) : 1.0f;
    for (std::size_t i = threadIdx.x % 32; i < width; i += 32) store(y + row * width + i, x[i] / length);
}

}  // namespace

void rms_norm(const float* x, const float* weight, std::size_t num_rows, std::size_t width, float eps, DType dtype, void* y,
              Stream& stream) {
    with_operand(dtype, [&]<typename T>(T) {
        launch("rms norm", &rms_norm_kernel<T>, num_blocks(num_rows, kRows), kThreads, stream, x, weight, num_rows, width, eps,
               static_cast<T*>(y));
    });
}

void layer_norm(const float* x, const float* weight, const float* bias, std::size_t num_rows, std::size_t width, float eps,
                DType dtype, void* y, Stream& stream) {
    with_operand(dtype, [&]<typename T>(T) {
        launch("layer norm", &layer_norm_kernel<T>, num_blocks(num_rows, kRows), kThreads, stream, x, weight, bias, num_rows,
               width, eps, static_cast<T*>(y));
    });
}

void scale_rows(const float* x, std::size_t num_rows, std::size_t width, bool unit, DType dtype, void* y, Stream& stream) {
    with_operand(dtype, [&]<typename T>(T) {
        launch("unit length", &scale_rows_kernel<T>, num_blocks(num_rows, kRows), kThreads, stream, x, num_rows, width, unit,
               static_cast<T*>(y));
    });
}

}  // namespace harken::cuda

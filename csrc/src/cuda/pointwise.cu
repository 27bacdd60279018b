#include "cuda/pointwise.h"

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/numbers.h"

namespace harken::cuda {
namespace {

constexpr unsigned kThreads = 256, kMaxBlocks = 1u << 16;

/// Launch `kernel(n, args...)` over n things.
template <typename... Parameters, typename... Args>
void launch_over(const char* what, void (*kernel)(std::size_t, Parameters...), std::size_t n, Stream& stream, Args... args) {
    if (n == 0) return;
    launch(what, kernel, std::min(num_blocks(n, kThreads), kMaxBlocks), kThreads, stream, n, args...);
}

/// Call body(i) for this thread's share of [0, n).
template <typename Body>
__device__ void for_own(std::size_t n, Body body) {
    const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
    for (std::size_t i = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) body(i);
}

template <typename T>
__global__ void gelu_kernel(std::size_t n, const float* x, T* y) {
    for_own(n, [=](std::size_t i) { store(y + i, 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678118654752f))); });
}

template <typename T>
__global__ void swiglu_kernel(std::size_t n, const float* gate_up, std::size_t width, T* y) {
    for_own(n, [=](std::size_t i) {
        const float* gate = gate_up + i / width * 2 * width + i % width;
        store(y + i, *gate / (1.0f + expf(-*gate)) * gate[width]);
    });
}

template <typename T>
__global__ void gather_kernel(std::size_t n, const float* x, const std::int32_t* rows, std::size_t width, T* y) {
    for_own(n, [=](std::size_t i) {
        const std::int32_t row = rows[i / width];
        store(y + i, row < 0 ? 0.0f : x[static_cast<std::size_t>(row) * width + i % width]);
    });
}

__global__ void add_rows_kernel(std::size_t n, const float* table, const std::int32_t* rows, std::size_t width, float* x) {
    for_own(n, [=](std::size_t i) { x[i] += table[static_cast<std::size_t>(rows[i / width]) * width + i % width]; });
}

__global__ void mean_pairs_kernel(std::size_t n, const float* x, const std::int32_t* rows, std::size_t width, float* y) {
    for_own(n, [=](std::size_t i) {
        const float* pair = x + static_cast<std::size_t>(rows[i / width]) * width + i % width;
        y[i] = 0.5f * (pair[0] + pair[width]);
    });
}

__global__ void mean_ranges_kernel(std::size_t n, const float* x, const std::int32_t* first, const std::int32_t* end,
                                   std::size_t width, float* y) {
    for_own(n, [=](std::size_t i) {
        float sum = 0;
        for (std::int32_t row = first[i / width]; row < end[i / width]; ++row)
            sum += x[static_cast<std::size_t>(row) * width + i % width];
        y[i] = sum / static_cast<float>(end[i / width] - first[i / width]);
    });
}

__global__ void rotate_kernel(std::size_t n, float* x, std::size_t ldx, const std::int32_t* positions, const float* cosines,
                              const float* sines, std::size_t num_heads, std::size_t half) {
    for_own(n, [=](std::size_t i) {
        const std::size_t at = i % half, head = i / half % num_heads, row = i / half / num_heads;
        const std::size_t angle = static_cast<std::size_t>(positions[row]) * half + at;
        float* own = x + row * ldx + head * 2 * half + at;
        const float a = own[0], b = own[half], cosine = cosines[angle], sine = sines[angle];
        own[0] = a * cosine - b * sine;
        own[half] = b * cosine + a * sine;
    });
}

}  // namespace

void gelu(const float* x, std::size_t n, DType dtype, void* y, Stream& stream) {
    with_operand(dtype, [&]<typename T>(T) { launch_over("gelu", &gelu_kernel<T>, n, stream, x, static_cast<T*>(y)); });
}

void swiglu(const float* gate_up, std::size_t num_rows, std::size_t width, DType dtype, void* y, Stream& stream) {
    with_operand(dtype, [&]<typename T>(T) {
        launch_over("silu", &swiglu_kernel<T>, num_rows * width, stream, gate_up, width, static_cast<T*>(y));
    });
}

void gather_rows(const float* x, const std::int32_t* rows, std::size_t num_rows, std::size_t width, DType dtype, void* y,
                 Stream& stream) {
    with_operand(dtype, [&]<typename T>(T) {
        launch_over("rows", &gather_kernel<T>, num_rows * width, stream, x, rows, width, static_cast<T*>(y));
    });
}

void add_rows(const float* table, const std::int32_t* rows, std::size_t num_rows, std::size_t width, float* x, Stream& stream) {
    launch_over("positions", &add_rows_kernel, num_rows * width, stream, table, rows, width, x);
}

void mean_pairs(const float* x, const std::int32_t* rows, std::size_t num_rows, std::size_t width, float* y, Stream& stream) {
    launch_over("pairs", &mean_pairs_kernel, num_rows * width, stream, x, rows, width, y);
}

void mean_ranges(const float* x, const std::int32_t* first, const std::int32_t* end, std::size_t num_ranges, std::size_t width,
                 float* y, Stream& stream) {
    launch_over("pooling", &mean_ranges_kernel, num_ranges * width, stream, x, first, end, width, y);
}

void rotate(float* x, std::size_t ldx, const std::int32_t* positions, const float* cosines, const float* sines,
            std::size_t num_rows, std::size_t num_heads, std::size_t head_width, Stream& stream) {
    launch_over("rotation", &rotate_kernel, num_rows * num_heads * (head_width / 2), stream, x, ldx, positions, cosines, sines,
                num_heads, head_width / 2);
}

}  // namespace harken::cuda

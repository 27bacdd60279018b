// A block computes 64 x 64 numbers of y from strips of 16 columns that it holds in shared memory; a thread computes 4 x 4.
#include "cuda/tile_product.h"

#include "cuda/launch.h"
#include "cuda/numbers.h"

namespace harken::cuda {
namespace {

constexpr int kTile = 64, kDepth = 16, kOwn = 4, kThreads = (kTile / kOwn) * (kTile / kOwn);
constexpr int kStride = kTile + 4;

/// strip[j][i] = rows[first + i, k + j], zeros outside.
template <typename T>
__device__ void load_strip(const T* rows, std::size_t first, std::size_t num_rows, std::size_t width, std::size_t k,
                           float (*strip)[kStride]) {
    for (int at = static_cast<int>(threadIdx.x); at < kTile * kDepth; at += kThreads) {
        const std::size_t row = first + at / kDepth, column = k + at % kDepth;
        strip[at % kDepth][at / kDepth] = row < num_rows && column < width ? ToFloat()(rows[row * width + column]) : 0.0f;
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    product_kernel(const T* w, const float* bias, const T* x, std::size_t num_rows, std::size_t num_out, std::size_t num_in,
                   float* y, bool accumulate) {
    alignas(16) __shared__ float rows[kDepth][kStride];
    alignas(16) __shared__ float columns[kDepth][kStride];
    const std::size_t first_row = static_cast<std::size_t>(blockIdx.y) * kTile,
                      first_column = static_cast<std::size_t>(blockIdx.x) * kTile;
    const int own_row = static_cast<int>(threadIdx.x) / (kTile / kOwn) * kOwn,
              own_column = static_cast<int>(threadIdx.x) % (kTile / kOwn) * kOwn;
    float sums[kOwn][kOwn] = {};
    for (std::size_t k = 0; k < num_in; k += kDepth) {
        load_strip(x, first_row, num_rows, num_in, k, rows);
        load_strip(w, first_column, num_out, num_in, k, columns);
        __syncthreads();
#pragma unroll
        for (int j = 0; j < kDepth; ++j) {
            const float4 a4 = *reinterpret_cast<const float4*>(&rows[j][own_row]);
            const float4 b4 = *reinterpret_cast<const float4*>(&columns[j][own_column]);
            const float a[kOwn] = {a4.x, a4.y, a4.z, a4.w}, b[kOwn] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
            for (int r = 0; r < kOwn; ++r)
#pragma unroll
                for (int c = 0; c < kOwn; ++c) sums[r][c] += a[r] * b[c];
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
        const std::size_t row = first_row + own_row + r;
#pragma unroll
        for (int c = 0; c < kOwn; ++c) {
            const std::size_t column = first_column + own_column + c;
            if (row >= num_rows || column >= num_out) continue;
            float* at = y + row * num_out + column;
            const float value = bias == nullptr ? sums[r][c] : sums[r][c] + bias[column];
            *at = accumulate ? *at + value : value;
        }
    }
}

}  // namespace

void tile_product(const DeviceMatrix& w, const void* x, std::size_t num_rows, float* y, bool accumulate, Stream& stream) {
    const dim3 grid(num_blocks(w.num_out, kTile), num_blocks(num_rows, kTile));
    with_operand(w.dtype, [&]<typename T>(T) {
        launch("product", &product_kernel<T>, grid, kThreads, stream, w.weights.as<T>(),
               w.has_bias ? w.bias.as<float>() : nullptr, static_cast<const T*>(x), num_rows, w.num_out, w.num_in, y,
               accumulate);
    });
}

}  // namespace harken::cuda

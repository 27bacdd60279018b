// Four warps hold 8 queries each; keys and then values come by 32 through the same shared memory.
//
//     scores     a lane a key, 8 queries in its registers
//     softmax    four lanes a query: the running maximum m and sum l, and how much what was summed before shrinks
//     values     a lane a few numbers of the head, 8 queries in its registers
#include "cuda/device_attention.h"

#include <algorithm>
#include <cmath>

#include "cuda/launch.h"
#include "cuda/numbers.h"

namespace harken::cuda {
namespace {

constexpr int kWarps = 4, kWarpQueries = 8, kQueries = kWarps * kWarpQueries, kKeys = 32, kThreads = 32 * kWarps;
constexpr int kSharers = 32 / kWarpQueries;  // lanes of a query in the softmax
constexpr unsigned kAll = 0xffffffffu;

struct Shape {
    int num_heads, heads_per_kv, head_width;
    std::int64_t ldx;
    bool causal;
    float scale;
};

template <int n>
struct alignas(4 * n) Floats {
    float at[n];
};

/// tile[i][d] = x[first + i][d], zeros outside [0, num_rows) and past the head.
template <int kWidth>
__device__ void load_tile(const float* x, std::int64_t ldx, int first, int num_rows, int head_width, int count,
                          float (*tile)[kWidth + 4]) {
    for (int at = static_cast<int>(threadIdx.x); at < count * kWidth; at += kThreads) {
        const int row = first + at / kWidth, d = at % kWidth;
        tile[at / kWidth][d] = row < num_rows && d < head_width ? x[row * ldx + d] : 0.0f;
    }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads) attention_kernel(Shape shape, const float* q, const float* k, const float* v,
                                                             const AttentionTask* tasks, T* out) {
    constexpr int kOwn = kWidth / 32;
    alignas(16) __shared__ float queries[kQueries][kWidth + 4];
    alignas(16) __shared__ float held[kKeys][kWidth + 4];  // keys, then values
    alignas(16) __shared__ float weights[kWarps][kKeys][kWarpQueries];
    __shared__ float factors[kWarps][kWarpQueries];

    const AttentionTask task = tasks[blockIdx.x];
    const int head = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x) / 32,
              lane = static_cast<int>(threadIdx.x) % 32;
    const int own_query = lane % kWarpQueries, own_part = lane / kWarpQueries;
    const std::int64_t kv_offset =
        static_cast<std::int64_t>(task.first_key) * shape.ldx + head / shape.heads_per_kv * shape.head_width;
    // No query of the block sees a key past its own last one.
    const int end = task.first_position + task.num_queries, num_keys = shape.causal && end < task.num_keys ? end : task.num_keys;
    load_tile<kWidth>(q + task.first_query * shape.ldx + head * shape.head_width, shape.ldx, 0, task.num_queries,
                      shape.head_width, kQueries, queries);

    float sums[kWarpQueries][kOwn] = {};
    float largest = -INFINITY, total = 0;  // of own_query
    for (int first = 0; first < num_keys; first += kKeys) {
        __syncthreads();
        load_tile<kWidth>(k + kv_offset, shape.ldx, first, num_keys, shape.head_width, kKeys, held);
        __syncthreads();
        float scores[kWarpQueries] = {};
#pragma unroll 4
        for (int d = 0; d < kWidth; d += 4) {
            const auto key = *reinterpret_cast<const Floats<4>*>(&held[lane][d]);
#pragma unroll
            for (int i = 0; i < kWarpQueries; ++i) {
                const auto query = *reinterpret_cast<const Floats<4>*>(&queries[warp * kWarpQueries + i][d]);
#pragma unroll
                for (int c = 0; c < 4; ++c) scores[i] += query.at[c] * key.at[c];
            }
        }
        const int key = first + lane;
#pragma unroll
        for (int i = 0; i < kWarpQueries; ++i) {
            const bool seen = key < num_keys && (!shape.causal || key <= task.first_position + warp * kWarpQueries + i);
            weights[warp][lane][i] = seen ? scores[i] * shape.scale : -INFINITY;
        }
        __syncthreads();
        load_tile<kWidth>(v + kv_offset, shape.ldx, first, num_keys, shape.head_width, kKeys, held);

        // Key 0 is seen by every query, so the maximum is finite from the first tile on.
        float before = largest;
#pragma unroll
        for (int j = 0; j < kKeys / kSharers; ++j) largest = fmaxf(largest, weights[warp][j * kSharers + own_part][own_query]);
        largest = fmaxf(largest, __shfl_xor_sync(kAll, largest, kWarpQueries));
        largest = fmaxf(largest, __shfl_xor_sync(kAll, largest, 2 * kWarpQueries));
        float sum = 0;
#pragma unroll
        for (int j = 0; j < kKeys / kSharers; ++j) {
            float* at = &weights[warp][j * kSharers + own_part][own_query];
            *at = expf(*at - largest);
            sum += *at;
        }
        sum += __shfl_xor_sync(kAll, sum, kWarpQueries);
        sum += __shfl_xor_sync(kAll, sum, 2 * kWarpQueries);
        const float factor = expf(before - largest);
        total = total * factor + sum;
        if (own_part == 0) factors[warp][own_query] = factor;
        __syncthreads();

#pragma unroll
        for (int i = 0; i < kWarpQueries; ++i)
#pragma unroll
            for (int c = 0; c < kOwn; ++c) sums[i][c] *= factors[warp][i];
#pragma unroll 4
        for (int j = 0; j < kKeys; ++j) {
            const auto value = *reinterpret_cast<const Floats<kOwn>*>(&held[j][lane * kOwn]);
            const auto weight = *reinterpret_cast<const Floats<kWarpQueries / 2>*>(&weights[warp][j][0]);
            const auto other = *reinterpret_cast<const Floats<kWarpQueries / 2>*>(&weights[warp][j][kWarpQueries / 2]);
#pragma unroll
            for (int i = 0; i < kWarpQueries / 2; ++i)
#pragma unroll
                for (int c = 0; c < kOwn; ++c) {
                    sums[i][c] += weight.at[i] * value.at[c];
                    sums[i + kWarpQueries / 2][c] += other.at[i] * value.at[c];
                }
        }
    }
    __syncwarp();
    if (own_part == 0) factors[warp][own_query] = total;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kWarpQueries; ++i) {
        const int query = warp * kWarpQueries + i;
#pragma unroll
        for (int c = 0; c < kOwn; ++c) {
            const int d = lane * kOwn + c;
            if (query >= task.num_queries || d >= shape.head_width) continue;
            const std::int64_t row = static_cast<std::int64_t>(task.first_out) + query;
            store(out + (row * shape.num_heads + head) * shape.head_width + d, sums[i][c] / factors[warp][i]);
        }
    }
}

}  // namespace

std::vector<AttentionTask> attention_tasks(const Segments& segments, bool last_only) {
    std::vector<AttentionTask> tasks;
    const auto number = [](std::size_t n) { return static_cast<std::int32_t>(n); };
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::size_t start = segments.start(i), length = segments.length(i);
        if (last_only) {
            tasks.push_back({number(start + length - 1), 1, number(start), number(length), number(length - 1), number(i)});
            continue;
        }
        for (std::size_t first = 0; first < length; first += kQueries)
            tasks.push_back({number(start + first), number(std::min<std::size_t>(kQueries, length - first)), number(start),
                             number(length), number(first), number(start + first)});
    }
    return tasks;
}

void attention(const AttentionShape& shape, const float* q, const float* k, const float* v, std::size_t ldx,
               const AttentionTask* tasks, std::size_t num_tasks, DType dtype, void* out, Stream& stream) {
    const Shape given{static_cast<int>(shape.num_heads), static_cast<int>(shape.num_heads / shape.num_kv_heads),
                      static_cast<int>(shape.head_width), static_cast<std::int64_t>(ldx), shape.causal, shape.scale};
    const dim3 grid(static_cast<unsigned>(num_tasks), static_cast<unsigned>(shape.num_heads));
    with_operand(dtype, [&]<typename T>(T) {
        auto* kernel = shape.head_width <= 32   ? &attention_kernel<T, 32>
                       : shape.head_width <= 64 ? &attention_kernel<T, 64>
                                                : &attention_kernel<T, 128>;
        launch("attention", kernel, grid, kThreads, stream, given, q, k, v, tasks, static_cast<T*>(out));
    });
}

}  // namespace harken::cuda

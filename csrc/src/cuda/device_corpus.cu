// Exact top-K in two kernels: a warp reads a row once for up to 8 queries and leaves a hit for each; blocks sort 4096 hits
// and keep the k best, again and again until one block holds all.
#include "cuda/device_corpus.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cuda/check.h"
#include "cuda/launch.h"
#include "cuda/numbers.h"
#include "cuda/topk_steps.h"
#include "half.h"

namespace harken::cuda {
namespace {

constexpr int kScoreThreads = 256;
constexpr unsigned kNoRow = 0xffffffffu;

/// hits [num_queries, num_rows]; first_bad is lowered to a searched row whose score with some query is not finite.
template <typename T>
__global__ void score_kernel(const T* rows, const float* scales, const float* queries, int num_queries, std::size_t num_rows,
                             std::size_t width, const std::uint64_t* filter, std::uint64_t* hits, unsigned* first_bad) {
    const int lane = threadIdx.x % 32;
    const std::size_t num_warps = static_cast<std::size_t>(gridDim.x) * (kScoreThreads / 32);
    for (std::size_t row = (static_cast<std::size_t>(blockIdx.x) * kScoreThreads + threadIdx.x) / 32; row < num_rows;
         row += num_warps) {
        const bool wanted = passes(filter, row);
        float sums[kTileQueries] = {};
        if (wanted) add_products(rows + row * width, queries, num_queries, width, lane, ToFloat(), sums);
        for (int q = 0; q < kTileQueries; ++q) {
            float sum = sums[q];
            for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
            if (lane != q || q >= num_queries) continue;
            if (scales != nullptr) sum *= scales[row];
            if (wanted && !isfinite(sum)) atomicMin(first_bad, static_cast<unsigned>(row));
            hits[static_cast<std::size_t>(q) * num_rows + row] = wanted ? hit_of(sum, static_cast<std::uint32_t>(row)) : 0;
        }
    }
}

/// Block (x, q) sorts hits [q, 4096 x ... + 4096) and writes its best `keep` to kept [q, x, keep].
__global__ void sort_kernel(const std::uint64_t* hits, std::size_t num_hits, int keep, std::uint64_t* kept) {
    __shared__ std::uint64_t sorted[kSortedHits];
    const std::size_t first = static_cast<std::size_t>(blockIdx.x) * kSortedHits;
    const std::uint64_t* of_query = hits + blockIdx.y * num_hits;
    for (int i = threadIdx.x; i < kSortedHits; i += kSortThreads)
        sorted[i] = first + i < num_hits ? of_query[first + i] : 0;
    for (int size = 2; size <= kSortedHits; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            sort_step(sorted, kSortedHits, size, stride, threadIdx.x, kSortThreads);
        }
    __syncthreads();
    std::uint64_t* out = kept + (static_cast<std::size_t>(blockIdx.y) * gridDim.x + blockIdx.x) * keep;
    for (int i = threadIdx.x; i < keep; i += kSortThreads) out[i] = sorted[i];
}

template <typename T>
void launch_scores(const DeviceBuffer& rows, const float* scales, const float* queries, int num_queries, const Corpus& shape,
                   const std::uint64_t* filter, std::uint64_t* hits, unsigned* first_bad) {
    const auto blocks = static_cast<unsigned>(std::min<std::size_t>((shape.num_rows + 7) / 8, 1u << 16));
    launch("scores", &score_kernel<T>, blocks, kScoreThreads, nullptr, rows.as<T>(), scales, queries, num_queries, shape.num_rows,
           shape.width, filter, hits, first_bad);
}

/// The query as the corpus' products take it (topk.h).
std::vector<float> rounded(const float* queries, std::size_t n, DType dtype) {
    std::vector<float> out(queries, queries + n);
    for (std::size_t i = 0; i < n; ++i) {
        if (dtype == DType::bfloat16) out[i] = bfloat16_to_float(float_to_bfloat16(out[i]));
        if (dtype == DType::float16 || dtype == DType::int8) out[i] = half_to_float(float_to_half(out[i]));
        if (!std::isfinite(out[i]))
            throw Error(HARKEN_INVALID_ARGUMENT, "topk: a query is not finite in the corpus' dtype, at " + std::to_string(i));
    }
    return out;
}

}  // namespace

DeviceCorpus::DeviceCorpus(const Corpus& corpus, int device) : device_(device), shape_(corpus) {
    if (corpus.num_rows >= kNoRow)
        throw Error(HARKEN_INVALID_ARGUMENT, "topk: " + std::to_string(corpus.num_rows) + " rows; a device takes fewer than 2^32 - 1");
    const OnDevice here(device);
    const std::size_t row_bytes = corpus.width * dtype_bytes(corpus.dtype);
    const std::size_t stride_bytes = (corpus.row_stride == 0 ? corpus.width : corpus.row_stride) * dtype_bytes(corpus.dtype);
    rows_ = DeviceBuffer(corpus.num_rows * row_bytes);
    if (corpus.num_rows > 0)
        check(cudaMemcpy2D(rows_.as<void>(), row_bytes, corpus.rows, stride_bytes, row_bytes, corpus.num_rows,
                           cudaMemcpyHostToDevice),
              "copy of the rows");
    if (corpus.scales != nullptr) {
        scales_ = DeviceBuffer(corpus.num_rows * sizeof(float));
        scales_.copy_from(corpus.scales, corpus.num_rows * sizeof(float));
    }
    first_bad_ = DeviceBuffer(sizeof(unsigned));
    shape_.rows = nullptr;
    shape_.scales = nullptr;
}

void DeviceCorpus::search(const float* queries, std::size_t num_queries, std::size_t k, const std::uint64_t* filter,
                          float* scores, std::int64_t* ids) {
    if (k < 1 || k > 1024) throw Error(HARKEN_INVALID_ARGUMENT, "topk: k is " + std::to_string(k) + "; wanted 1 to 1024");
    const std::vector<float> given = rounded(queries, num_queries * shape_.width, shape_.dtype);
    std::fill_n(scores, num_queries * k, -std::numeric_limits<float>::infinity());
    std::fill_n(ids, num_queries * k, std::int64_t{-1});
    if (shape_.num_rows == 0) return;
    const std::lock_guard lock(turn_);
    const OnDevice here(device_);
    if (filter != nullptr) {
        const std::size_t num_bytes = (shape_.num_rows + 63) / 64 * sizeof(std::uint64_t);
        filter_.reserve(num_bytes);
        filter_.copy_from(filter, num_bytes);
    }
    for (std::size_t first = 0; first < num_queries; first += kTileQueries) {
        const auto count = static_cast<int>(std::min<std::size_t>(kTileQueries, num_queries - first));
        search_tile(given.data() + first * shape_.width, count, k, filter != nullptr, scores + first * k, ids + first * k);
    }
}

void DeviceCorpus::search_tile(const float* queries, int num_queries, std::size_t k, bool filtered, float* scores,
                               std::int64_t* ids) {
    const auto count = static_cast<std::size_t>(num_queries);
    queries_.reserve(kTileQueries * shape_.width * sizeof(float));
    queries_.copy_from(queries, count * shape_.width * sizeof(float));
    hits_[0].reserve(count * shape_.num_rows * sizeof(std::uint64_t));
    first_bad_.copy_from(&kNoRow, sizeof kNoRow);
    const auto run = [&]<typename T>(T) {
        launch_scores<T>(rows_, scales_.as<float>(), queries_.as<float>(), num_queries, shape_,
                         filtered ? filter_.as<std::uint64_t>() : nullptr, hits_[0].as<std::uint64_t>(),
                         first_bad_.as<unsigned>());
    };
    switch (shape_.dtype) {
        case DType::float32: run(float{}); break;
        case DType::float16: run(__half{}); break;
        case DType::bfloat16: run(__nv_bfloat16{}); break;
        case DType::int8: run(std::int8_t{}); break;
        default: throw Error(HARKEN_INVALID_ARGUMENT, "topk: rows are " + std::string(dtype_name(shape_.dtype)));
    }
    std::size_t num_hits = shape_.num_rows;
    const auto keep = static_cast<int>(k);
    int from = 0;
    std::size_t blocks;
    do {
        blocks = (num_hits + kSortedHits - 1) / kSortedHits;
        hits_[1 - from].reserve(count * blocks * k * sizeof(std::uint64_t));
        launch("sort", &sort_kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(num_queries)), kSortThreads, nullptr,
               hits_[from].as<std::uint64_t>(), num_hits, keep, hits_[1 - from].as<std::uint64_t>());
        num_hits = blocks * k;
        from = 1 - from;
    } while (blocks > 1);
    std::vector<std::uint64_t> best(count * k);
    unsigned bad = kNoRow;
    first_bad_.copy_to(&bad, sizeof bad);
    if (bad != kNoRow) throw Error(HARKEN_INVALID_ARGUMENT, "topk: row " + std::to_string(bad) + " gives no finite score");
    hits_[from].copy_to(best.data(), best.size() * sizeof(std::uint64_t));
    for (std::size_t i = 0; i < best.size(); ++i)
        if (best[i] != 0) {
            scores[i] = score_of(best[i]);
            ids[i] = row_of(best[i]);
        }
}

}  // namespace harken::cuda

// Exact top-K. Where the library carries Triton's kernels for the device they make the products (cubin_topk.h); elsewhere a
// warp reads a row once for up to 8 queries and leaves a hit for each. Blocks then sort 4096 hits and keep the k best, again
// and again until one block holds all.
#include "cuda/device_corpus.h"

#include <algorithm>
#include <cmath>
#include <cstring>
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
// What lies between a key of cubin_topk.h and a hit.
constexpr std::uint64_t kSignBit = 0x8000000000000000u;

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

/// Block (x, q) sorts hits [q, 4096 x ... + 4096) and writes its best `keep` to kept [q, x, keep]; flip_in and flip_out turn
/// bits round on the way.
__global__ void sort_kernel(const std::uint64_t* hits, std::size_t num_hits, int keep, std::uint64_t flip_in,
                            std::uint64_t flip_out, std::uint64_t* kept) {
    __shared__ std::uint64_t sorted[kSortedHits];
    const std::size_t first = static_cast<std::size_t>(blockIdx.x) * kSortedHits;
    const std::uint64_t* of_query = hits + blockIdx.y * num_hits;
    for (int i = threadIdx.x; i < kSortedHits; i += kSortThreads)
        sorted[i] = first + i < num_hits ? of_query[first + i] ^ flip_in : 0;
    for (int size = 2; size <= kSortedHits; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            sort_step(sorted, kSortedHits, size, stride, threadIdx.x, kSortThreads);
        }
    __syncthreads();
    std::uint64_t* out = kept + (static_cast<std::size_t>(blockIdx.y) * gridDim.x + blockIdx.x) * keep;
    for (int i = threadIdx.x; i < keep; i += kSortThreads) out[i] = sorted[i] ^ flip_out;
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

[[noreturn]] void refuse_row(std::size_t row) {
    throw Error(HARKEN_INVALID_ARGUMENT, "topk: row " + std::to_string(row) + " gives no finite score");
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
    shape_.row_stride = 0;
    if (!CubinTopK::available(shape_, device)) return;
    cubins_ = std::make_unique<CubinTopK>(shape_, device);
    if (shape_.dtype == DType::int8 && corpus.scales == nullptr) {
        const std::vector<float> ones(shape_.num_rows, 1.0f);
        scales_ = DeviceBuffer(ones.size() * sizeof(float));
        scales_.copy_from(ones.data(), ones.size() * sizeof(float));
    }
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
    const std::size_t filter_bytes = (shape_.num_rows + 63) / 64 * sizeof(std::uint64_t);
    if (filter != nullptr) {
        filter_.reserve(filter_bytes);
        filter_.copy_from(filter, filter_bytes);
    } else if (cubins_ && all_rows_.as<char>() == nullptr) {
        const std::vector<char> ones(filter_bytes, '\xff');
        all_rows_ = DeviceBuffer(filter_bytes);
        all_rows_.copy_from(ones.data(), filter_bytes);
    }
    const std::size_t step = cubins_ ? cubins_->max_queries() : kTileQueries;
    for (std::size_t first = 0; first < num_queries; first += step) {
        const std::size_t count = std::min(step, num_queries - first);
        const float* const some = given.data() + first * shape_.width;
        const std::uint64_t* const found =
            cubins_ ? search_by_cubins(some, count, k, filter) : search_tile(some, count, k, filter);
        std::vector<std::uint64_t> best(count * k);
        check(cudaMemcpy(best.data(), found, best.size() * sizeof(std::uint64_t), cudaMemcpyDeviceToHost), "copy of the hits");
        for (std::size_t i = 0; i < best.size(); ++i)
            if (best[i] != 0) {
                scores[first * k + i] = score_of(best[i]);
                ids[first * k + i] = row_of(best[i]);
            }
    }
}

const std::uint64_t* DeviceCorpus::search_by_cubins(const float* queries, std::size_t num_queries, std::size_t k,
                                                    const std::uint64_t* filter) {
    const auto choose = [&](const std::int64_t* keys, std::size_t count, std::size_t num_keys, std::size_t keep) -> ChosenKeys {
        if (num_keys <= keep) return {keys, num_keys};
        const auto* const hits = reinterpret_cast<const std::uint64_t*>(keys);
        return {reinterpret_cast<const std::int64_t*>(best_hits(hits, count, num_keys, keep, kSignBit, kSignBit)), keep};
    };
    const DeviceBuffer& searched = filter != nullptr ? filter_ : all_rows_;
    const CubinTopK::Keys found = cubins_->search(rows_, scales_, queries, num_queries, k, searched, choose);
    if (found.bad_tile >= 0) refuse_row(bad_row(static_cast<std::size_t>(found.bad_tile), found.tile_rows, filter));
    return best_hits(reinterpret_cast<const std::uint64_t*>(found.keys), num_queries, found.num_keys, k, kSignBit, 0);
}

const std::uint64_t* DeviceCorpus::search_tile(const float* queries, std::size_t num_queries, std::size_t k,
                                               const std::uint64_t* filter) {
    queries_.reserve(kTileQueries * shape_.width * sizeof(float));
    queries_.copy_from(queries, num_queries * shape_.width * sizeof(float));
    hits_[0].reserve(num_queries * shape_.num_rows * sizeof(std::uint64_t));
    first_bad_.copy_from(&kNoRow, sizeof kNoRow);
    const auto run = [&]<typename T>(T) {
        launch_scores<T>(rows_, scales_.as<float>(), queries_.as<float>(), static_cast<int>(num_queries), shape_,
                         filter != nullptr ? filter_.as<std::uint64_t>() : nullptr, hits_[0].as<std::uint64_t>(),
                         first_bad_.as<unsigned>());
    };
    switch (shape_.dtype) {
        case DType::float32: run(float{}); break;
        case DType::float16: run(__half{}); break;
        case DType::bfloat16: run(__nv_bfloat16{}); break;
        case DType::int8: run(std::int8_t{}); break;
        default: throw Error(HARKEN_INVALID_ARGUMENT, "topk: rows are " + std::string(dtype_name(shape_.dtype)));
    }
    const std::uint64_t* const best = best_hits(hits_[0].as<std::uint64_t>(), num_queries, shape_.num_rows, k, 0, 0);
    unsigned bad = kNoRow;
    first_bad_.copy_to(&bad, sizeof bad);
    if (bad != kNoRow) refuse_row(bad);
    return best;
}

const std::uint64_t* DeviceCorpus::best_hits(const std::uint64_t* hits, std::size_t num_queries, std::size_t num_hits,
                                             std::size_t keep, std::uint64_t flip_in, std::uint64_t flip_out) {
    int to = hits == hits_[0].as<std::uint64_t>() ? 1 : 0;
    while (true) {
        const std::size_t blocks = (num_hits + kSortedHits - 1) / kSortedHits;
        hits_[to].reserve(num_queries * blocks * keep * sizeof(std::uint64_t));
        const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(num_queries));
        launch("sort", &sort_kernel, grid, kSortThreads, nullptr, hits, num_hits, static_cast<int>(keep), flip_in,
               blocks == 1 ? flip_out : 0, hits_[to].as<std::uint64_t>());
        hits = hits_[to].as<std::uint64_t>();
        if (blocks == 1) return hits;
        num_hits = blocks * keep;
        to = 1 - to;
        flip_in = 0;
    }
}

std::size_t DeviceCorpus::bad_row(std::size_t first, std::size_t count, const std::uint64_t* filter) const {
    count = std::min(count, shape_.num_rows - first);
    const std::size_t row_bytes = shape_.width * dtype_bytes(shape_.dtype);
    std::vector<char> rows(count * row_bytes);
    std::vector<float> scales(count, 1.0f);
    check(cudaMemcpy(rows.data(), rows_.as<char>() + first * row_bytes, rows.size(), cudaMemcpyDeviceToHost), "copy of rows");
    if (scales_.as<float>() != nullptr)
        check(cudaMemcpy(scales.data(), scales_.as<float>() + first, count * sizeof(float), cudaMemcpyDeviceToHost),
              "copy of scales");
    for (std::size_t i = 0; i < count; ++i) {
        if (!passes(filter, first + i)) continue;
        bool finite = std::isfinite(scales[i]);
        const char* const row = rows.data() + i * row_bytes;
        for (std::size_t j = 0; j < shape_.width && shape_.dtype != DType::int8; ++j) {
            float x = 0;
            std::uint16_t bits = 0;
            if (shape_.dtype == DType::float32)
                std::memcpy(&x, row + j * sizeof x, sizeof x);
            else {
                std::memcpy(&bits, row + j * sizeof bits, sizeof bits);
                x = shape_.dtype == DType::float16 ? half_to_float(bits) : bfloat16_to_float(bits);
            }
            finite = finite && std::isfinite(x);
        }
        if (!finite) return first + i;
    }
    // A product overflowed.
    return first;
}

}  // namespace harken::cuda

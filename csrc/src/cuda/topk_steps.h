/// \file
/// What one thread of device_corpus.cu does between two barriers, so that a loop over threads can do the same on the CPU.
///
/// A hit is 64 bits that sort like hits do: the score's bits in rising order above, the row's complement below, so that of
/// equal scores the lower row is the larger number. 0 is no hit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define HARKEN_BOTH __host__ __device__ __forceinline__
#else
#define HARKEN_BOTH inline
#endif

namespace harken::cuda {

/// Hits sorted at once by a block: 32 KiB of shared memory.
inline constexpr int kSortedHits = 4096;
inline constexpr int kSortThreads = 1024;
/// Queries that a row meets while it is read once.
inline constexpr int kTileQueries = 8;

HARKEN_BOTH std::uint32_t float_bits(float x) {
#if defined(__CUDA_ARCH__)
    return __float_as_uint(x);
#else
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
#endif
}

HARKEN_BOTH float bits_float(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
    return __uint_as_float(bits);
#else
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
#endif
}

/// \param score  finite
HARKEN_BOTH std::uint64_t hit_of(float score, std::uint32_t row) {
    const std::uint32_t bits = float_bits(score + 0.0f);  // -0 is as good as 0
    const std::uint32_t rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return static_cast<std::uint64_t>(rising) << 32 | ~row;
}

HARKEN_BOTH float score_of(std::uint64_t hit) {
    const auto rising = static_cast<std::uint32_t>(hit >> 32);
    return bits_float(rising & 0x80000000u ? rising & 0x7fffffffu : ~rising);
}

HARKEN_BOTH std::uint32_t row_of(std::uint64_t hit) { return ~static_cast<std::uint32_t>(hit); }

HARKEN_BOTH bool passes(const std::uint64_t* filter, std::size_t row) {
    return filter == nullptr || (filter[row / 64] >> (row % 64) & 1) != 0;
}

/// One step of a bitonic sort into falling order: pairs `stride` apart inside stretches of `size`, one pair a thread and turn.
HARKEN_BOTH void sort_step(std::uint64_t* hits, int num_hits, int size, int stride, int thread, int num_threads) {
    for (int pair = thread; pair < num_hits / 2; pair += num_threads) {
        const int low = pair / stride * 2 * stride + pair % stride, high = low + stride;
        const bool falling = (low & size) == 0;
        const std::uint64_t a = hits[low], b = hits[high];
        if ((a < b) == falling && a != b) {
            hits[low] = b;
            hits[high] = a;
        }
    }
}

/// What lane `lane` of 32 adds to the products of one row with the queries, elements lane, lane + 32, ...
template <typename T, typename ToFloat>
HARKEN_BOTH void add_products(const T* row, const float* queries, int num_queries, std::size_t width, int lane,
                              ToFloat to_float, float* sums) {
    for (std::size_t i = static_cast<std::size_t>(lane); i < width; i += 32) {
        const float x = to_float(row[i]);
        for (int q = 0; q < kTileQueries; ++q)
            if (q < num_queries) sums[q] += x * queries[static_cast<std::size_t>(q) * width + i];
    }
}

}  // namespace harken::cuda

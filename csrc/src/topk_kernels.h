/// \file
/// The inner loop of top-K, one table an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace harken {

/// Rows and queries are multiplied a group of rows at a time; a group's scores lie side by side.
inline constexpr std::size_t kTopkGroup = 8;

/// scores[q * score_stride + r] = sum_d query[q][d] * row[r][d], r < num_rows, which is a multiple of kTopkGroup.
///
/// rows: [num_rows] pointers; width: elements of a row; queries: [num_queries, query_stride], zero past the width.
/// Each score is summed in an order that only the width decides.
struct TopkKernels {
    const char* name;
    void (*dots_float32)(const void* const* rows, std::size_t num_rows, std::size_t width, const float* queries,
                         std::size_t query_stride, std::size_t num_queries, float* scores, std::size_t score_stride);
    void (*dots_float16)(const void* const* rows, std::size_t num_rows, std::size_t width, const float* queries,
                         std::size_t query_stride, std::size_t num_queries, float* scores, std::size_t score_stride);
    void (*dots_bfloat16)(const void* const* rows, std::size_t num_rows, std::size_t width, const float* queries,
                          std::size_t query_stride, std::size_t num_queries, float* scores, std::size_t score_stride);
    void (*dots_int8)(const void* const* rows, std::size_t num_rows, std::size_t width, const std::int16_t* queries,
                      std::size_t query_stride, std::size_t num_queries, float* scores, std::size_t score_stride);
};

extern const TopkKernels kTopkScalar;
#if defined(__x86_64__)
extern const TopkKernels kTopkAvx2;
extern const TopkKernels kTopkAvx512;
#endif

/// The table of the instruction set in use (isa.h).
const TopkKernels& topk_kernels() noexcept;

/// Every table that runs on this CPU, for tests.
std::vector<const TopkKernels*> all_topk_kernels();

}  // namespace harken

/// \file
/// The k best rows of a corpus for each query, exactly.
///
///     score[q, n] = scale[n] * sum_d query[q, d] * corpus[n, d]        best first, ties by lower id
///
/// Sums are float32: a float16 or bfloat16 corpus meets the query rounded to that dtype; an int8 one the query rounded to
/// float16 and then to 16 bits of a common step, and these sums are exact. Each score is summed in one order, whatever stands
/// beside it, so equal rows tie wherever they lie and a query's hits do not depend on the others. A batch of queries reads the
/// corpus once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor_view.h"
#include "threads.h"

namespace harken {

/// Rows to be searched, in someone else's memory.
struct Corpus {
    DType dtype = DType::float32;  ///< float32, float16, bfloat16 or int8
    const void* rows = nullptr;    ///< [num_rows, width]; a row's elements are contiguous
    std::size_t num_rows = 0;
    std::size_t width = 0;          ///< 1..65536
    std::size_t row_stride = 0;     ///< elements from one row to the next; 0: width
    const float* scales = nullptr;  ///< [num_rows], int8 only; nullptr: 1
};

/// \param queries  [num_queries, width], finite
/// \param k        1..1024; where fewer rows are found, the rest of a query's hits are (-infinity, -1)
/// \param filter   one bit a row, lowest bit first; rows whose bit is 0 are not searched. nullptr: all are
/// \param scores   [num_queries, k]
/// \param ids      [num_queries, k]
/// \param exclude  [num_queries] a row never returned for that query, -1 for none; nullptr: none
/// \throws Error   HARKEN_INVALID_ARGUMENT: an argument is off, a query is not finite in the product's dtype, or a searched
///                 row is not finite (named)
void topk(const Corpus& corpus, const float* queries, std::size_t num_queries, std::size_t k,
          const std::uint64_t* filter, float* scores, std::int64_t* ids, ThreadPool& pool,
          const std::int64_t* exclude = nullptr);

/// The same without looking for rows that are not finite to the end.
/// \returns the first searched row whose score with the first query is not finite, or num_rows
[[nodiscard]] std::size_t topk_unchecked(const Corpus& corpus, const float* queries, std::size_t num_queries,
                                         std::size_t k, const std::uint64_t* filter, float* scores, std::int64_t* ids,
                                         ThreadPool& pool, const std::int64_t* exclude = nullptr);

}  // namespace harken

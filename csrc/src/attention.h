/// \file
/// Attention inside each sequence of a packed batch.
///
///     out[i] = sum_j softmax_j(scale q[i] . k[j]) v[j]   over the j of i's own sequence (j <= i if causal)
#pragma once

#include <cstddef>

#include "packed.h"
#include "threads.h"

namespace harken {

struct AttentionShape {
    std::size_t num_heads, num_kv_heads, head_width;  ///< num_heads is a multiple of num_kv_heads
    bool causal;
    float scale;
};

/// \param q    [rows, num_heads * head_width], rows ldx floats apart; rows are those of `segments`, or the last row of
///             each with `last_only`
/// \param k,v  [segments.num_rows(), num_kv_heads * head_width], rows ldx floats apart
/// \param out  [rows of q, num_heads * head_width]
void attention(const AttentionShape& shape, const float* q, const float* k, const float* v, std::size_t ldx,
               const Segments& segments, bool last_only, float* out, ThreadPool& pool);

}  // namespace harken

/// \file
/// attention.h on a device: online softmax in float32, 32 queries of one head of one sequence a block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "attention.h"
#include "cuda/stream.h"
#include "tensor_view.h"

namespace harken::cuda {

/// The widest head that the kernel holds.
inline constexpr std::size_t kMaxHeadWidth = 128;

/// Queries that a block computes, neighbours of one sequence.
struct AttentionTask {
    std::int32_t first_query, num_queries;  ///< rows of q
    std::int32_t first_key, num_keys;       ///< rows of k and v: the whole sequence
    std::int32_t first_position;            ///< of the first query in its sequence
    std::int32_t first_out;                 ///< row of out
};

/// \param last_only  each sequence's last row alone, which is a row of out
[[nodiscard]] std::vector<AttentionTask> attention_tasks(const Segments& segments, bool last_only);

/// \param shape    head_width no more than kMaxHeadWidth
/// \param q,k,v    rows ldx floats apart
/// \param tasks    [num_tasks] on the device
/// \param out      [rows, num_heads * head_width] of `dtype`
void attention(const AttentionShape& shape, const float* q, const float* k, const float* v, std::size_t ldx,
               const AttentionTask* tasks, std::size_t num_tasks, DType dtype, void* out, Stream& stream);

}  // namespace harken::cuda

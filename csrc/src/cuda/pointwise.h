/// \file
/// What a device does to one number at a time: activations, rotation, rows looked up, means. Arithmetic is float32.
///
/// Rows are contiguous; indices of rows are int32, and so are their sizes on the device. `dtype` is that of the output, which is
/// a product's operand.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/stream.h"
#include "tensor_view.h"

namespace harken::cuda {

/// y [n] = x / 2 (1 + erf(x / sqrt 2)); y may be x where dtype is float32.
void gelu(const float* x, std::size_t n, DType dtype, void* y, Stream& stream);

/// y [num_rows, width] = gate / (1 + exp(-gate)) * up of gate_up [num_rows, 2 * width], gate first.
void swiglu(const float* gate_up, std::size_t num_rows, std::size_t width, DType dtype, void* y, Stream& stream);

/// y [num_rows, width] = x[rows[i]], zeros where rows[i] is negative.
void gather_rows(const float* x, const std::int32_t* rows, std::size_t num_rows, std::size_t width, DType dtype, void* y,
                 Stream& stream);

/// x [num_rows, width] += table[rows[i]]
void add_rows(const float* table, const std::int32_t* rows, std::size_t num_rows, std::size_t width, float* x, Stream& stream);

/// y [num_rows, width] = (x[rows[i]] + x[rows[i] + 1]) / 2
void mean_pairs(const float* x, const std::int32_t* rows, std::size_t num_rows, std::size_t width, float* y, Stream& stream);

/// y [num_ranges, width] = the mean of x[first[i]] ... x[end[i] - 1], summed in that order.
void mean_ranges(const float* x, const std::int32_t* first, const std::int32_t* end, std::size_t num_ranges, std::size_t width,
                 float* y, Stream& stream);

/// Turn the first num_heads heads of every row of x [num_rows, ldx] by its position:
///     (a, b) = (a cos - b sin, b cos + a sin),  a and b half a head apart
/// \param cosines,sines  [positions, head_width / 2]
void rotate(float* x, std::size_t ldx, const std::int32_t* positions, const float* cosines, const float* sines,
            std::size_t num_rows, std::size_t num_heads, std::size_t head_width, Stream& stream);

}  // namespace harken::cuda

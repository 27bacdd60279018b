/// \file
/// Norms of rows on a device, in float32 with two passes, as kernels.h computes them.
#pragma once

#include <cstddef>

#include "cuda/stream.h"
#include "tensor_view.h"

namespace harken::cuda {

/// y [num_rows, width] of `dtype` = x / sqrt(mean x^2 + eps) * weight
void rms_norm(const float* x, const float* weight, std::size_t num_rows, std::size_t width, float eps, DType dtype, void* y,
              Stream& stream);

/// y [num_rows, width] of `dtype` = (x - mean) / sqrt(var + eps) * weight + bias
void layer_norm(const float* x, const float* weight, const float* bias, std::size_t num_rows, std::size_t width, float eps,
                DType dtype, void* y, Stream& stream);

/// y [num_rows, width] of `dtype` = x divided by its length, no less than 1e-12, where `unit`, else x.
void scale_rows(const float* x, std::size_t num_rows, std::size_t width, bool unit, DType dtype, void* y, Stream& stream);

}  // namespace harken::cuda

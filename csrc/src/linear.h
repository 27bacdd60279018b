/// \file
/// Products with packed weights: y = x W^T + b.
///
/// W [num_out, num_in] lies as panels [num_out / 16][num_in][16], the last one filled with zeros, in float32, bfloat16,
/// float16, or int8 with a scale for each 64 numbers of a row of W. Everything is computed in float32.
#pragma once

#include <cstddef>

#include "tensor_view.h"
#include "threads.h"

namespace harken {

/// Neighbouring numbers of a row of an int8 W that share a scale.
inline constexpr std::size_t kScaleSpan = 64;

/// A packed matrix in someone else's memory.
struct PackedMatrix {
    DType dtype = DType::float32;
    const void* panels = nullptr;
    const float* scales = nullptr;  ///< [num_in / 64, rounded up][num_out to the next multiple of 16], int8 only
    const float* bias = nullptr;    ///< [num_out], or nullptr
    std::size_t num_out = 0;
    std::size_t num_in = 0;

    [[nodiscard]] std::size_t num_panels() const noexcept { return (num_out + 15) / 16; }
    [[nodiscard]] std::size_t num_scales() const noexcept { return (num_in + kScaleSpan - 1) / kScaleSpan * num_panels() * 16; }
};

/// y [num_rows, num_out] = x W^T + b; rows of x and y lie ldx and ldy floats apart, which are at least num_in and num_out.
/// \param accumulate  add to what y holds
void linear(const PackedMatrix& w, const float* x, std::size_t ldx, std::size_t num_rows, float* y, std::size_t ldy,
            bool accumulate, ThreadPool& pool);

/// The same with contiguous rows.
inline void linear(const PackedMatrix& w, const float* x, std::size_t num_rows, float* y, bool accumulate,
                   ThreadPool& pool) {
    linear(w, x, w.num_in, num_rows, y, w.num_out, accumulate, pool);
}

/// Panels of W [num_out, num_in], rows ldw apart, as float32: what a bundle holds, made at run time.
/// \param panels  [ceil(num_out / 16)][num_in][16]
void pack_panels(const float* w, std::size_t ldw, std::size_t num_out, std::size_t num_in, float* panels) noexcept;

}  // namespace harken

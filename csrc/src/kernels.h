/// \file
/// The inner loops of the model, one table an instruction set. Everything above is written once against this table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace harken {

/// Columns of a product that lie together in a packed matrix: the layout of weights in a bundle.
inline constexpr size_t kPanel = 16;

struct Kernels {
    /// Rows of a product computed together.
    size_t tile_rows;

    /// Copy rows of x [num_rows, ldx] from column 0 to num_k into strips of tile_rows rows, k-major: [strip][k][row].
    /// The last strip is as narrow as the rows that are left.
    void (*pack_rows)(const float* x, size_t ldx, size_t num_rows, size_t num_k, float* packed);

    /// y [num_rows, ldy] (+)= strips times panels. `panels` holds ceil(num_columns / 16) blocks of [num_k][16],
    /// panel_stride floats apart; only num_columns of y are written.
    void (*product)(const float* strips, size_t num_rows, size_t num_k, const float* panels, size_t panel_stride,
                    size_t num_columns, float* y, size_t ldy, bool accumulate);

    void (*bf16_to_float)(const uint16_t* x, size_t n, float* y);
    void (*fp16_to_float)(const uint16_t* x, size_t n, float* y);
    /// y [num_k, 16] = x [num_k, 16] * scales [16]
    void (*int8_to_float)(const int8_t* x, const float* scales, size_t num_k, float* y);

    /// x[i] = exp(scale * (x[i] - max x)); returns the sum.
    float (*exp_row)(float* x, size_t n, float scale);
    /// y = x / sqrt(mean x^2 + eps) * w
    void (*rms_norm)(const float* x, const float* w, size_t n, float eps, float* y);
    /// y = (x - mean) / sqrt(var + eps) * w + b
    void (*layer_norm)(const float* x, const float* w, const float* b, size_t n, float eps, float* y);
    /// x = x / 2 (1 + erf(x / sqrt 2))
    void (*gelu)(float* x, size_t n);
    /// y = gate / (1 + exp(-gate)) * up
    void (*swiglu)(const float* gate, const float* up, size_t n, float* y);
};

extern const Kernels kScalarKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

/// The table of the instruction set in use (isa.h).
const Kernels& kernels() noexcept;

}  // namespace harken

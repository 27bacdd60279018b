/// \file
/// The kernels of kernels.h, written once with the compiler's vector types and compiled once an instruction set by
/// kernels_scalar.cpp, kernels_avx2.cpp and kernels_avx512.cpp, which define
///
///     HARKEN_LANES        floats in a register
///     HARKEN_TILE_ROWS, HARKEN_TILE_PANELS   rows and panels whose sums are kept in registers
///
/// Everything here is in an unnamed namespace and uses no function of the standard library, so that no code with
/// instructions of one set can be linked in the place of another's.
///
/// Source: own. exp: 2^n times a polynomial of degree 6 (Cody and Waite's reduction); erf: a rational function of degrees
/// 13 and 10 fitted on |z| < 3.92, absolute error 4e-7.
#pragma once

#include <stddef.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels.h"

namespace harken {
namespace {

constexpr size_t kLanes = HARKEN_LANES;
constexpr size_t kTileRows = HARKEN_TILE_ROWS, kTilePanels = HARKEN_TILE_PANELS;
constexpr size_t kPanelVectors = kPanel / kLanes;

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t HalfVec __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef int8_t ByteVec __attribute__((vector_size(kLanes), aligned(1), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const LooseVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<LooseVec*>(p) = v; }
inline Vec all(float x) { return x - Vec{}; }
inline Vec as_float(IntVec v) { return reinterpret_cast<Vec>(v); }
inline IntVec as_int(Vec v) { return reinterpret_cast<IntVec>(v); }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }
inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

/// Bytes as floats; g++ 12 makes slow code of __builtin_convertvector from bytes.
inline Vec floats_of(const int8_t* p) {
#if HARKEN_LANES == 16
    return reinterpret_cast<Vec>(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
#elif HARKEN_LANES == 8
    return reinterpret_cast<Vec>(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
#else
    return __builtin_convertvector(__builtin_convertvector(*reinterpret_cast<const ByteVec*>(p), IntVec), Vec);
#endif
}

inline float sum(Vec v) {
    float s = 0;
    for (size_t i = 0; i < kLanes; ++i) s += v[i];
    return s;
}

/// The rest of a row that does not fill a register, padded.
struct Tail {
    float x[kLanes];
    Tail(const float* p, size_t n, float padding) {
        for (size_t i = 0; i < kLanes; ++i) x[i] = i < n ? p[i] : padding;
    }
    void copy_to(float* p, size_t n) const {
        for (size_t i = 0; i < n; ++i) p[i] = x[i];
    }
};

inline Vec exp_of(Vec x) {
    const Vec bounded = larger(smaller(x, all(88.0f)), all(-87.0f));
    const Vec shifted = bounded * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's last bits are the rounded quotient
    const Vec n = shifted - 12582912.0f;
    const Vec r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
    Vec p = all(1.0f / 720);
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const Vec power = as_float((as_int(shifted) << 23) + 0x3f800000);
    const Vec y = x < all(-87.0f) ? Vec{} : p * power;
    return x > all(88.0f) ? all(__builtin_inff()) : y;
}

inline Vec erf_of(Vec x) {
    const Vec z = larger(smaller(x, all(3.92f)), all(-3.92f)), u = z * z;
    Vec p = all(-1.2799263870988398e-08f);
    p = p * u + 4.609122697729617e-06f;
    p = p * u + 0.0003767554590012878f;
    p = p * u + 0.003838638076558709f;
    p = p * u + 0.05424397811293602f;
    p = p * u + 0.18513594567775726f;
    p = p * u + 1.128379225730896f;
    Vec q = all(6.239813228603452e-05f);
    q = q * u + 0.001301523414440453f;
    q = q * u + 0.015430065803229809f;
    q = q * u + 0.11387395113706589f;
    q = q * u + 0.49740588665008545f;
    q = q * u + 1.0f;
    const Vec y = z * p / q;
    return x > all(3.92f) ? all(1.0f) : x < all(-3.92f) ? all(-1.0f) : y;
}

void pack_rows(const float* x, size_t ldx, size_t num_rows, size_t num_k, float* packed) {
    for (size_t first = 0; first < num_rows; first += kTileRows) {
        const size_t rows = least(kTileRows, num_rows - first);
        for (size_t row = 0; row < rows; ++row) {
            const float* from = x + (first + row) * ldx;
            float* to = packed + row;
            for (size_t k = 0; k < num_k; ++k) to[k * rows] = from[k];
        }
        packed += rows * num_k;
    }
}

/// One tile of Rows x Panels * 16 sums.
template <size_t Rows, size_t Panels>
void tile(const float* strip, size_t num_k, const float* panels, size_t panel_stride, float* y, size_t ldy,
          bool accumulate) {
    Vec c[Rows][Panels * kPanelVectors];
#pragma GCC unroll 16
    for (size_t i = 0; i < Rows; ++i)
#pragma GCC unroll 16
        for (size_t j = 0; j < Panels * kPanelVectors; ++j)
            c[i][j] = accumulate ? load(y + i * ldy + j * kLanes) : Vec{};
    for (size_t k = 0; k < num_k; ++k) {
        Vec b[Panels * kPanelVectors];
#pragma GCC unroll 16
        for (size_t j = 0; j < Panels * kPanelVectors; ++j)
            b[j] = load(panels + j / kPanelVectors * panel_stride + k * kPanel + j % kPanelVectors * kLanes);
#pragma GCC unroll 16
        for (size_t i = 0; i < Rows; ++i) {
            const Vec a = all(strip[k * Rows + i]);
#pragma GCC unroll 16
            for (size_t j = 0; j < Panels * kPanelVectors; ++j) c[i][j] += a * b[j];
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < Rows; ++i)
#pragma GCC unroll 16
        for (size_t j = 0; j < Panels * kPanelVectors; ++j) store(y + i * ldy + j * kLanes, c[i][j]);
}

/// A tile of which only num_columns exist in y.
template <size_t Rows, size_t Panels>
void narrow_tile(const float* strip, size_t num_k, const float* panels, size_t panel_stride, size_t num_columns, float* y,
                 size_t ldy, bool accumulate) {
    constexpr size_t kWidth = Panels * kPanel;
    float whole[Rows * kWidth] = {};
    if (accumulate)
        for (size_t i = 0; i < Rows; ++i)
            for (size_t j = 0; j < num_columns; ++j) whole[i * kWidth + j] = y[i * ldy + j];
    tile<Rows, Panels>(strip, num_k, panels, panel_stride, whole, kWidth, true);
    for (size_t i = 0; i < Rows; ++i)
        for (size_t j = 0; j < num_columns; ++j) y[i * ldy + j] = whole[i * kWidth + j];
}

/// All columns of one strip of `rows` rows; Rows counts down to it.
template <size_t Rows>
void strip_product(size_t rows, const float* strip, size_t num_k, const float* panels, size_t panel_stride,
                   size_t num_columns, float* y, size_t ldy, bool accumulate) {
    if constexpr (Rows > 1)
        if (rows < Rows)
            return strip_product<Rows - 1>(rows, strip, num_k, panels, panel_stride, num_columns, y, ldy, accumulate);
    size_t column = 0;
    for (; column + kTilePanels * kPanel <= num_columns; column += kTilePanels * kPanel)
        tile<Rows, kTilePanels>(strip, num_k, panels + column / kPanel * panel_stride, panel_stride, y + column, ldy,
                                accumulate);
    for (; column < num_columns; column += kPanel)
        narrow_tile<Rows, 1>(strip, num_k, panels + column / kPanel * panel_stride, panel_stride,
                             least(kPanel, num_columns - column), y + column, ldy, accumulate);
}

void product(const float* strips, size_t num_rows, size_t num_k, const float* panels, size_t panel_stride,
             size_t num_columns, float* y, size_t ldy, bool accumulate) {
    // A few panels at a time stay in the first-level cache while all strips pass over them.
    constexpr size_t kColumns = kTilePanels * kPanel;
    for (size_t column = 0; column < num_columns; column += kColumns) {
        const float* strip = strips;
        for (size_t first = 0; first < num_rows; first += kTileRows) {
            const size_t rows = least(kTileRows, num_rows - first);
            strip_product<kTileRows>(rows, strip, num_k, panels + column / kPanel * panel_stride, panel_stride,
                                     least(kColumns, num_columns - column), y + first * ldy + column, ldy, accumulate);
            strip += rows * num_k;
        }
    }
}

void bf16_to_float(const uint16_t* x, size_t n, float* y) {
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        const HalfVec h = *reinterpret_cast<const HalfVec*>(x + i);
        store(y + i, as_float(__builtin_convertvector(h, IntVec) << 16));
    }
    for (; i < n; ++i) {
        const uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
        __builtin_memcpy(y + i, &bits, 4);
    }
}

void fp16_to_float(const uint16_t* x, size_t n, float* y) {
    // Moved to float32's fields, a half is too small by 2^112; the product is exact, for subnormal halves too.
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        const IntVec h = __builtin_convertvector(*reinterpret_cast<const HalfVec*>(x + i), IntVec);
        const Vec magnitude = as_float((h & 0x7fff) << 13) * 0x1p112f;
        store(y + i, as_float(as_int(magnitude) | (h & 0x8000) << 16));
    }
    for (; i < n; ++i) {
        const uint32_t moved = static_cast<uint32_t>(x[i] & 0x7fff) << 13;
        float magnitude;
        __builtin_memcpy(&magnitude, &moved, 4);
        magnitude *= 0x1p112f;
        y[i] = x[i] & 0x8000 ? -magnitude : magnitude;
    }
}

void int8_to_float(const int8_t* x, const float* scales, size_t num_k, float* y) {
    for (size_t k = 0; k < num_k; ++k)
        for (size_t j = 0; j < kPanelVectors; ++j) {
            const size_t at = k * kPanel + j * kLanes;
            store(y + at, floats_of(x + at) * load(scales + j * kLanes));
        }
}

float exp_row(float* x, size_t n, float scale) {
    size_t i = 0;
    float highest = x[0];
    Vec highest_of_lane = all(x[0]);
    for (; i + kLanes <= n; i += kLanes) highest_of_lane = larger(highest_of_lane, load(x + i));
    for (size_t lane = 0; lane < kLanes; ++lane)
        highest = highest_of_lane[lane] > highest ? highest_of_lane[lane] : highest;
    for (; i < n; ++i) highest = x[i] > highest ? x[i] : highest;
    Vec total{};
    for (i = 0; i + kLanes <= n; i += kLanes) {
        const Vec e = exp_of((load(x + i) - highest) * scale);
        store(x + i, e);
        total += e;
    }
    float rest = 0;
    if (i < n) {
        Tail tail(x + i, n - i, highest);
        store(tail.x, exp_of((load(tail.x) - highest) * scale));
        tail.copy_to(x + i, n - i);
        for (size_t j = 0; j < n - i; ++j) rest += tail.x[j];
    }
    return sum(total) + rest;
}

void rms_norm(const float* x, const float* w, size_t n, float eps, float* y) {
    Vec total{};
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) total += load(x + i) * load(x + i);
    float squares = sum(total);
    for (; i < n; ++i) squares += x[i] * x[i];
    const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps);
    for (i = 0; i + kLanes <= n; i += kLanes) store(y + i, load(x + i) * factor * load(w + i));
    for (; i < n; ++i) y[i] = x[i] * factor * w[i];
}

void layer_norm(const float* x, const float* w, const float* b, size_t n, float eps, float* y) {
    Vec total{};
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) total += load(x + i);
    float mean = sum(total);
    for (; i < n; ++i) mean += x[i];
    mean /= static_cast<float>(n);
    total = Vec{};
    for (i = 0; i + kLanes <= n; i += kLanes) total += (load(x + i) - mean) * (load(x + i) - mean);
    float squares = sum(total);
    for (; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const float factor = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps);
    for (i = 0; i + kLanes <= n; i += kLanes) store(y + i, (load(x + i) - mean) * factor * load(w + i) + load(b + i));
    for (; i < n; ++i) y[i] = (x[i] - mean) * factor * w[i] + b[i];
}

inline Vec gelu_of(Vec x) { return 0.5f * x * (1.0f + erf_of(x * 0.70710678f)); }
inline Vec swiglu_of(Vec gate, Vec up) { return gate / (1.0f + exp_of(-gate)) * up; }

void gelu(float* x, size_t n) {
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(x + i, gelu_of(load(x + i)));
    if (i < n) {
        Tail tail(x + i, n - i, 0.0f);
        store(tail.x, gelu_of(load(tail.x)));
        tail.copy_to(x + i, n - i);
    }
}

void swiglu(const float* gate, const float* up, size_t n, float* y) {
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(y + i, swiglu_of(load(gate + i), load(up + i)));
    if (i < n) {
        Tail g(gate + i, n - i, 0.0f), u(up + i, n - i, 0.0f);
        store(g.x, swiglu_of(load(g.x), load(u.x)));
        g.copy_to(y + i, n - i);
    }
}

constexpr Kernels kTable{kTileRows,     pack_rows, product,  bf16_to_float, fp16_to_float, int8_to_float,
                         exp_row,       rms_norm,  layer_norm, gelu,        swiglu};

}  // namespace
}  // namespace harken

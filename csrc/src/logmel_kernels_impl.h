/// \file
/// The kernels of logmel_kernels.h, compiled once an instruction set. A file that includes this defines
///
///     HARKEN_NAME     what tests call it
///     HARKEN_LANES    floats in a register
///
/// A register holds one number of HARKEN_LANES frames. Their samples are windowed, transposed and taken as n_fft/2 complex
/// numbers; a Stockham transform of radix 4, 2 and 5 leaves them in order; the halves are parted into the real transform's
/// power; each mel bin is a short weighted sum; ln is x - x^2/2 + x^3 P(x) of the mantissa, with P fitted to 3e-8.
/// Everything is in an unnamed namespace and calls no inline function of the standard library (see cmake/isa.cmake).
/// Source: own; Stockham's transform; Sorensen et al. 1987 on real transforms.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "logmel_kernels.h"

namespace harken {
namespace {

constexpr size_t kLanes = HARKEN_LANES;

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));

inline Vec load(const float* p) { return *reinterpret_cast<const LooseVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<LooseVec*>(p) = v; }
inline Vec all(float x) { return x - Vec{}; }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

#if HARKEN_LANES == 4
inline Vec low(Vec a, Vec b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
inline Vec high(Vec a, Vec b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
#elif HARKEN_LANES == 8
inline Vec low(Vec a, Vec b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Vec high(Vec a, Vec b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
inline Vec low(Vec a, Vec b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Vec high(Vec a, Vec b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#endif

/// Rows become columns: each round interleaves the first half of the registers with the second.
inline void transpose(Vec (&v)[kLanes]) {
#pragma GCC unroll 4
    for (size_t round = 1; round < kLanes; round *= 2) {
        Vec next[kLanes];
#pragma GCC unroll 16
        for (size_t i = 0; i < kLanes / 2; ++i) {
            next[2 * i] = low(v[i], v[i + kLanes / 2]);
            next[2 * i + 1] = high(v[i], v[i + kLanes / 2]);
        }
#pragma GCC unroll 16
        for (size_t i = 0; i < kLanes; ++i) v[i] = next[i];
    }
}

/// ln of positive, normal numbers.
inline Vec ln(Vec x) {
    // The mantissa is brought to [sqrt 1/2, sqrt 2).
    const IntVec bits = reinterpret_cast<IntVec>(x) - 0x3f3504f3;
    const Vec exponent = __builtin_convertvector(bits >> 23, Vec);
    const Vec m = reinterpret_cast<Vec>((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
    Vec p = all(0.08917801827192307f);
    p = p * m - 0.14350193738937378f;
    p = p * m + 0.14876976609230042f;
    p = p * m - 0.16565635800361633f;
    p = p * m + 0.1996539682149887f;
    p = p * m - 0.2500174641609192f;
    p = p * m + 0.33333858847618103f;
    const Vec squared = m * m;
    // ln 2 in two parts, the first of which is exact times any exponent.
    return (exponent * 0.693359375f) + (m + (squared * (p * m - 0.5f) - exponent * 2.12194440e-4f));
}

struct Complex {
    Vec re, im;
};
inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex times_minus_i(Complex a) { return {a.im, -a.re}; }

template <size_t R>
inline void butterfly(const Complex (&x)[R], Complex (&y)[R]) {
    if constexpr (R == 2) {
        y[0] = x[0] + x[1];
        y[1] = x[0] - x[1];
    } else if constexpr (R == 4) {
        const Complex even = x[0] + x[2], odd = x[1] + x[3], a = x[0] - x[2], b = times_minus_i(x[1] - x[3]);
        y[0] = even + odd;
        y[1] = a + b;
        y[2] = even - odd;
        y[3] = a - b;
    } else {
        constexpr float c1 = 0.309016994f, c2 = -0.809016994f, s1 = 0.951056516f, s2 = 0.587785252f;
        const Complex p1 = x[1] + x[4], m1 = x[1] - x[4], p2 = x[2] + x[3], m2 = x[2] - x[3];
        const Complex a = {x[0].re + c1 * p1.re + c2 * p2.re, x[0].im + c1 * p1.im + c2 * p2.im};
        const Complex b = {x[0].re + c2 * p1.re + c1 * p2.re, x[0].im + c2 * p1.im + c1 * p2.im};
        const Complex u = times_minus_i({s1 * m1.re + s2 * m2.re, s1 * m1.im + s2 * m2.im});
        const Complex v = times_minus_i({s2 * m1.re - s1 * m2.re, s2 * m1.im - s1 * m2.im});
        y[0] = x[0] + p1 + p2;
        y[1] = a + u;
        y[4] = a - u;
        y[2] = b + v;
        y[3] = b - v;
    }
}

/// One stage: num_points / R butterflies for each of `stride` interleaved transforms of num_points.
template <size_t R>
void stage(const Complex* __restrict x, Complex* __restrict y, size_t num_points, size_t stride,
           const float* twiddles) {
    const size_t m = num_points / R;
    for (size_t p = 0; p < m; ++p) {
        const float* t = twiddles + 2 * R * p;
        for (size_t q = 0; q < stride; ++q) {
            Complex a[R], b[R];
#pragma GCC unroll 5
            for (size_t k = 0; k < R; ++k) a[k] = x[q + stride * (p + m * k)];
            butterfly<R>(a, b);
            y[q + stride * R * p] = b[0];
#pragma GCC unroll 5
            for (size_t k = 1; k < R; ++k) {
                const float c = t[2 * k], s = t[2 * k + 1];
                y[q + stride * (R * p + k)] = {b[k].re * c - b[k].im * s, b[k].re * s + b[k].im * c};
            }
        }
    }
}

/// The complex transform of a; the answer lies in what is returned, a or b.
Complex* transform(const MelTables& tables, Complex* a, Complex* b) {
    size_t num_points = tables.n_fft / 2, stride = 1;
    for (size_t i = 0; i < tables.num_stages; ++i) {
        const size_t radix = tables.radix[i];
        (radix == 2 ? stage<2> : radix == 4 ? stage<4> : stage<5>)(a, b, num_points, stride, tables.twiddles[i]);
        num_points /= radix;
        stride *= radix;
        Complex* const last = a;
        a = b;
        b = last;
    }
    return a;
}

void gather(const MelTables& tables, const float* samples, Complex* out) {
    for (size_t i = 0; i < tables.n_fft; i += kLanes) {
        Vec v[kLanes];
        const Vec window = load(tables.window + i);
#pragma GCC unroll 16
        for (size_t j = 0; j < kLanes; ++j) v[j] = load(samples + j * tables.hop_length + i) * window;
        transpose(v);
#pragma GCC unroll 8
        for (size_t j = 0; j < kLanes / 2; ++j) out[i / 2 + j] = {v[2 * j], v[2 * j + 1]};
    }
}

void power_of(const MelTables& tables, const Complex* x, Vec* power) {
    const size_t half = tables.n_fft / 2;
    for (size_t k = 0; k <= half / 2; ++k) {
        const Complex a = x[k], b = x[k == 0 ? 0 : half - k];
        const Vec even_re = a.re + b.re, even_im = a.im - b.im, odd_re = a.im + b.im, odd_im = b.re - a.re;
        const float c = tables.split[2 * k], s = tables.split[2 * k + 1];
        const Vec re = odd_re * c - odd_im * s, im = odd_re * s + odd_im * c;
        const Vec low_re = even_re + re, low_im = even_im + im, high_re = even_re - re, high_im = im - even_im;
        // Both sums are twice what they should be.
        power[half - k] = 0.25f * (high_re * high_re + high_im * high_im);
        power[k] = 0.25f * (low_re * low_re + low_im * low_im);
    }
}

size_t scratch_size(const MelTables& tables) {
    const size_t tile_mels = (tables.num_mels + kLanes - 1) / kLanes * kLanes;
    return kLanes * (2 * tables.n_fft + tables.n_fft / 2 + 1 + tile_mels);
}

float frames(const MelTables& tables, const float* samples, size_t num_counted, float* out, float* scratch) {
    Complex* const a = reinterpret_cast<Complex*>(scratch);
    Complex* const b = a + tables.n_fft / 2;
    Vec* const power = reinterpret_cast<Vec*>(b + tables.n_fft / 2);
    Vec* const mel = power + tables.n_fft / 2 + 1;

    gather(tables, samples, a);
    power_of(tables, transform(tables, a, b), power);
    const float to_log = tables.log_gain * 0.434294482f;
    const float* weight = tables.weights;
    Vec largest = all(-3.0e38f);
    for (size_t m = 0; m < tables.num_mels; ++m) {
        Vec sum = {};
        for (size_t k = tables.first_bin[m]; k < tables.last_bin[m]; ++k) sum += *weight++ * power[k];
        mel[m] = ln(larger(sum, all(tables.floor))) * to_log;
        // A NaN is not larger than the floor and must not be lost.
        mel[m] = sum == sum ? mel[m] : sum;
        largest = larger(mel[m], largest);
    }
    for (size_t m = 0; m < tables.num_mels; m += kLanes) {
        Vec v[kLanes];
#pragma GCC unroll 16
        for (size_t j = 0; j < kLanes; ++j) v[j] = mel[m + j];
        transpose(v);
        const size_t rest = tables.num_mels - m;
#pragma GCC unroll 16
        for (size_t j = 0; j < kLanes; ++j) {
            float* const row = out + j * tables.num_mels + m;
            if (rest >= kLanes) {
                store(row, v[j]);
            } else {
                for (size_t i = 0; i < rest; ++i) row[i] = v[j][i];
            }
        }
    }
    float most = -3.0e38f;
    for (size_t j = 0; j < num_counted; ++j) most = largest[j] > most ? largest[j] : most;
    return most;
}

constexpr LogMelKernels kTable = {HARKEN_NAME, kLanes, scratch_size, frames};

}  // namespace
}  // namespace harken

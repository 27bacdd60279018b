/// \file
/// The kernels of topk_kernels.h, compiled once an instruction set. A file that includes this defines
///
///     HARKEN_NAME     what errors and tests call it
///     HARKEN_LANES    floats in a register: 4, 8 or 16
///     HARKEN_QUERIES  queries whose sums with a group of rows are kept in registers
///
/// One register of sums a score runs along the width, and groups of four are added up together:
///
///     x = row[r][s * lanes ...], y = query[q][s * lanes ...], sum[r][q] += x * y
///
/// A batch of queries meets rows that were widened once to float32 (int8: to int16) in a block that stays in the first cache.
/// A few queries wait for memory alone: they meet rows one after another, which is read faster than several side by side.
/// int8 sums are exact in int32 over a piece of 512: 128 * 32767 * 512 < 2^31.
/// Everything is in an unnamed namespace and calls no inline function of the standard library (see cmake/isa.cmake).
/// Source: own.
#pragma once

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
// GCC 12 takes its own _mm512_undefined_ps for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

#include "topk_kernels.h"

namespace harken {
namespace {

constexpr size_t kLanes = HARKEN_LANES;
constexpr size_t kMaxQueries = HARKEN_QUERIES;
// Rows that meet a group of queries one after another: what they take leaves room for the queries in a first cache.
constexpr size_t kBlockBytes = 24 << 10;
constexpr size_t kMaxBlockRows = 64;
// 8 rows of a whole piece.
constexpr size_t kMaxBlockBytes = 64 << 10;
// How far ahead rows are asked for that are read one after another; shorter rows lie close enough to go side by side.
constexpr size_t kAheadBytes = 8 << 10, kShortRowBytes = 256, kLineBytes = 64;

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t BitsVec __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef uint32_t WideBitsVec __attribute__((vector_size(kLanes * 4)));

inline Vec load(const float* p) { return *reinterpret_cast<const LooseVec*>(p); }

#if HARKEN_LANES == 16
/// The sums of a, b, c and d, in 128 bits.
inline __m128 sums(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 abcd = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
inline __m128i sums(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
inline Vec widen_float16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec widen_bfloat16(const uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
typedef __m512i Int16s;
inline Int16s load_int16(const int16_t* p) { return _mm512_loadu_si512(p); }
inline Int16s widen_int8(const int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store_int16(int16_t* p, Int16s v) { _mm512_storeu_si512(p, v); }
inline __m512i add_products(__m512i sum, Int16s x, Int16s y) {
    // vpdpwssd would do both at once, and was measured to gain nothing.
    return _mm512_add_epi32(sum, _mm512_madd_epi16(x, y));
}
typedef __m512i IntSum;
// Said outright: a compiler that chooses may round one loop otherwise than another.
inline Vec add_product(Vec sum, Vec x, Vec y) { return _mm512_fmadd_ps(x, y, sum); }
#elif HARKEN_LANES == 8
inline __m128 sums(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    const __m256 abcd = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    return _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1));
}
inline __m128i sums(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i abcd = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}
inline Vec widen_float16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
typedef __m256i Int16s;
inline Int16s load_int16(const int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline Int16s widen_int8(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store_int16(int16_t* p, Int16s v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
typedef __m256i IntSum;
inline Vec add_product(Vec sum, Vec x, Vec y) { return _mm256_fmadd_ps(x, y, sum); }
inline IntSum add_products(IntSum sum, Int16s x, Int16s y) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y)); }
#else
typedef IntVec IntSum;
inline Vec add_product(Vec sum, Vec x, Vec y) { return sum + x * y; }
typedef int16_t Int16s __attribute__((vector_size(16)));
typedef int16_t LooseInt16s __attribute__((vector_size(16), aligned(2), may_alias));
template <typename V>
inline V sums(V a, V b, V c, V d) {
    return V{a[0] + a[1] + a[2] + a[3], b[0] + b[1] + b[2] + b[3], c[0] + c[1] + c[2] + c[3],
             d[0] + d[1] + d[2] + d[3]};
}
inline Vec widen_float16(const uint16_t* p) {
    // Exponent and mantissa in float32's places, 112 powers of two too low (also of subnormals); infinity and NaN by hand.
    Vec out;
    for (size_t i = 0; i < kLanes; ++i) {
        const uint32_t magnitude = static_cast<uint32_t>(p[i] & 0x7fff) << 13;
        union {
            uint32_t bits;
            float value;
        } v = {magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : magnitude};
        if (magnitude < 0x0f800000u) v.value *= 0x1p112f;
        v.bits |= static_cast<uint32_t>(p[i] & 0x8000) << 16;
        out[i] = v.value;
    }
    return out;
}
inline Int16s load_int16(const int16_t* p) { return *reinterpret_cast<const LooseInt16s*>(p); }
inline Int16s widen_int8(const int8_t* p) {
#if defined(__SSE2__)
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return reinterpret_cast<Int16s>(_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8));
#else
    return Int16s{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]};
#endif
}
inline void store_int16(int16_t* p, Int16s v) { *reinterpret_cast<LooseInt16s*>(p) = v; }
inline IntSum add_products(IntSum sum, Int16s x, Int16s y) {
#if defined(__SSE2__)
    return sum + reinterpret_cast<IntSum>(_mm_madd_epi16(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(y)));
#else
    for (size_t i = 0; i < 4; ++i) sum[i] += x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
    return sum;
#endif
}
#endif

#if HARKEN_LANES != 16
inline Vec widen_bfloat16(const uint16_t* p) {
    return reinterpret_cast<Vec>(__builtin_convertvector(*reinterpret_cast<const BitsVec*>(p), WideBitsVec) << 16);
}
#endif

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t FourInts __attribute__((vector_size(16)));

/// How rows of one dtype meet queries: Row is what is stored, Wide what it is widened to, Query what it is multiplied by.
struct Float32 {
    typedef float Row;
    typedef float Query;
    typedef Vec Sum;
    typedef Float32 Wide;
    static constexpr size_t kStep = kLanes, kPiece = 2048;
    static Vec row(const float* p) { return load(p); }
    static Vec query(const float* p) { return load(p); }
    static void store(float* p, Vec v) { *reinterpret_cast<LooseVec*>(p) = v; }
    static Vec add(Vec sum, Vec x, Vec y) { return add_product(sum, x, y); }
    static Four total(Vec a, Vec b, Vec c, Vec d) { return reinterpret_cast<Four>(sums(a, b, c, d)); }
};
struct Float16 : Float32 {
    typedef uint16_t Row;
    static Vec row(const uint16_t* p) { return widen_float16(p); }
};
struct Bfloat16 : Float32 {
    typedef uint16_t Row;
    static Vec row(const uint16_t* p) { return widen_bfloat16(p); }
};
struct Int16 {
    typedef int16_t Row;
    typedef int16_t Query;
    typedef IntSum Sum;
    typedef Int16 Wide;
    static constexpr size_t kStep = 2 * kLanes, kPiece = 512;
    static Int16s row(const int16_t* p) { return load_int16(p); }
    static Int16s query(const int16_t* p) { return load_int16(p); }
    static void store(int16_t* p, Int16s v) { store_int16(p, v); }
    static IntSum add(IntSum sum, Int16s x, Int16s y) { return add_products(sum, x, y); }
    static Four total(IntSum a, IntSum b, IntSum c, IntSum d) {
        return __builtin_convertvector(reinterpret_cast<FourInts>(sums(a, b, c, d)), Four);
    }
};
struct Int8 : Int16 {
    typedef int8_t Row;
    static Int16s row(const int8_t* p) { return widen_int8(p); }
};

/// The rows that come next, asked for from memory a few lines at a time while others are multiplied.
struct Ahead {
    const void* const* rows;
    size_t num_rows, row_bytes;
    size_t lines_at_once;
    size_t row = 0, byte = 0;

    void ask() {
        for (size_t i = 0; i < lines_at_once && row < num_rows; ++i) {
            __builtin_prefetch(static_cast<const char*>(rows[row]) + byte, 0, 2);
            byte += 64;
            if (byte >= row_bytes) byte = 0, ++row;
        }
    }
};

/// Where scores go: those of one query lie side by side.
struct Scores {
    float* first;
    size_t stride;
    // False for the first piece of a row.
    bool accumulate;

    Scores at(size_t row, size_t query) const { return {first + query * stride + row, stride, accumulate}; }
    void put(size_t row, size_t query, Four sum) const {
        Four* place = reinterpret_cast<Four*>(first + query * stride + row);
        *place = accumulate ? *place + sum : sum;
    }
};

/// R rows and Q queries, num_steps registers each.
template <typename Op, size_t R, size_t Q>
void tile(const typename Op::Row* const* rows, const typename Op::Query* queries, size_t query_stride, size_t num_steps,
          Scores scores) {
    typename Op::Sum sum[R][Q] = {};
    for (size_t s = 0; s < num_steps; ++s) {
        decltype(Op::query(queries)) y[Q];
#pragma GCC unroll 8
        for (size_t q = 0; q < Q; ++q) y[q] = Op::query(queries + q * query_stride + s * Op::kStep);
#pragma GCC unroll 8
        for (size_t r = 0; r < R; ++r) {
            const auto x = Op::row(rows[r] + s * Op::kStep);
#pragma GCC unroll 8
            for (size_t q = 0; q < Q; ++q) sum[r][q] = Op::add(sum[r][q], x, y[q]);
        }
    }
#pragma GCC unroll 8
    for (size_t q = 0; q < Q; ++q)
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r += 4)
            scores.put(r, q, Op::total(sum[r][q], sum[r + 1][q], sum[r + 2][q], sum[r + 3][q]));
}

/// Any number of rows (a multiple of 8) and queries; each group of queries stays in the first cache for all rows.
template <typename Op>
void piece(const typename Op::Row* const* rows, size_t num_rows, const typename Op::Query* queries, size_t query_stride,
           size_t num_queries, size_t num_steps, Scores scores, Ahead& ahead) {
    size_t q = 0;
    for (; q + kMaxQueries <= num_queries; q += kMaxQueries)
        for (size_t r = 0; r < num_rows; r += 4) {
            ahead.ask();
            tile<Op, 4, kMaxQueries>(rows + r, queries + q * query_stride, query_stride, num_steps, scores.at(r, q));
        }
    for (; q + 2 <= num_queries; q += 2)
        for (size_t r = 0; r < num_rows; r += 4)
            tile<Op, 4, 2>(rows + r, queries + q * query_stride, query_stride, num_steps, scores.at(r, q));
    if (q < num_queries)
        for (size_t r = 0; r < num_rows; r += 8)
            tile<Op, 8, 1>(rows + r, queries + q * query_stride, query_stride, num_steps, scores.at(r, q));
}

/// One row of whole cache lines and Q queries, asking for a row of as many on the way.
template <typename Op, size_t Q>
void one_row(const typename Op::Row* row, const typename Op::Row* next, const typename Op::Query* queries,
             size_t query_stride, size_t num_steps, typename Op::Sum* out) {
    constexpr size_t kLineSteps = kLineBytes / (Op::kStep * sizeof(typename Op::Row));
    typename Op::Sum sum[Q] = {};
    for (size_t line = 0; line < num_steps; line += kLineSteps) {
        __builtin_prefetch(next + line * Op::kStep, 0, 2);
#pragma GCC unroll 8
        for (size_t i = 0; i < kLineSteps; ++i) {
            const size_t s = line + i;
            const auto x = Op::row(row + s * Op::kStep);
#pragma GCC unroll 4
            for (size_t q = 0; q < Q; ++q)
                sum[q] = Op::add(sum[q], x, Op::query(queries + q * query_stride + s * Op::kStep));
        }
    }
#pragma GCC unroll 4
    for (size_t q = 0; q < Q; ++q) out[q] = sum[q];
}

/// Up to Q queries and a piece of all rows, one after another.
template <typename Op, size_t Q = kMaxQueries>
void stream(const void* const* rows, size_t num_rows, size_t row_bytes, size_t begin, const typename Op::Query* queries,
            size_t query_stride, size_t num_queries, size_t num_steps, Scores scores) {
    if constexpr (Q > 1)
        if (num_queries < Q)
            return stream<Op, Q - 1>(rows, num_rows, row_bytes, begin, queries, query_stride, num_queries, num_steps,
                                     scores);
    const size_t ahead = (kAheadBytes + row_bytes - 1) / row_bytes;
    const auto at = [&](size_t r) { return static_cast<const typename Op::Row*>(rows[r]) + begin; };
    for (size_t r = 0; r < num_rows; r += 4) {
        typename Op::Sum sum[4][Q];
        for (size_t i = 0; i < 4; ++i) {
            const size_t next = r + i + ahead < num_rows ? r + i + ahead : num_rows - 1;
            one_row<Op, Q>(at(r + i), at(next), queries, query_stride, num_steps, sum[i]);
        }
#pragma GCC unroll 4
        for (size_t q = 0; q < Q; ++q) scores.put(r, q, Op::total(sum[0][q], sum[1][q], sum[2][q], sum[3][q]));
    }
}

/// Write num_elements of a row at its width, zeros up to a whole register.
template <typename Op>
void widen(const typename Op::Row* row, size_t num_elements, typename Op::Wide::Row* out) {
    size_t i = 0;
    for (; i + Op::kStep <= num_elements; i += Op::kStep) Op::store(out + i, Op::row(row + i));
    if (i == num_elements) return;
    typename Op::Row rest[Op::kStep] = {};
    for (size_t j = 0; i + j < num_elements; ++j) rest[j] = row[i + j];
    Op::store(out + i, Op::row(rest));
}

template <typename Op>
void dots(const void* const* rows, size_t num_rows, size_t width, const typename Op::Query* queries,
          size_t query_stride, size_t num_queries, float* scores, size_t score_stride) {
    typedef typename Op::Wide Wide;
    // Widened rows pay off where several groups of queries meet them, and are needed where a register would read past a row.
    const bool in_place = width % Op::kStep == 0 &&
                          (num_queries <= kMaxQueries || sizeof(typename Op::Row) == sizeof(typename Wide::Row));
    const size_t row_bytes = width * sizeof(typename Op::Row);
    if (row_bytes % kLineBytes == 0 && row_bytes >= kShortRowBytes && num_queries <= kMaxQueries) {
        for (size_t begin = 0; begin < width; begin += Op::kPiece)
            stream<Op>(rows, num_rows, row_bytes, begin, queries + begin, query_stride, num_queries,
                       (width - begin < Op::kPiece ? width - begin : Op::kPiece) / Op::kStep,
                       {scores, score_stride, begin != 0});
        return;
    }
    const size_t longest = width < Op::kPiece ? (width + Op::kStep - 1) / Op::kStep * Op::kStep : Op::kPiece;
    size_t block_rows = kBlockBytes / (longest * sizeof(typename Wide::Row)) / kTopkGroup * kTopkGroup;
    block_rows = block_rows < kTopkGroup ? kTopkGroup : block_rows > kMaxBlockRows ? kMaxBlockRows : block_rows;
    alignas(64) typename Wide::Row block[kMaxBlockBytes / sizeof(typename Wide::Row)];
    for (size_t first = 0; first < num_rows; first += block_rows) {
        const size_t count = num_rows - first < block_rows ? num_rows - first : block_rows;
        const size_t next = first + count, num_next = num_rows - next < block_rows ? num_rows - next : block_rows;
        const size_t num_tiles = num_queries / kMaxQueries * (count / 4) + 1;
        Ahead ahead{rows + next, num_next, row_bytes, num_next * (row_bytes + 63) / 64 / num_tiles + 1};
        for (size_t begin = 0; begin < width; begin += Op::kPiece) {
            const size_t num_elements = width - begin < Op::kPiece ? width - begin : Op::kPiece;
            const size_t num_steps = (num_elements + Op::kStep - 1) / Op::kStep;
            const Scores here{scores + first, score_stride, begin != 0};
            if (in_place) {
                const typename Op::Row* starts[kMaxBlockRows];
                for (size_t r = 0; r < count; ++r)
                    starts[r] = static_cast<const typename Op::Row*>(rows[first + r]) + begin;
                piece<Op>(starts, count, queries + begin, query_stride, num_queries, num_steps, here, ahead);
            } else {
                const typename Wide::Row* starts[kMaxBlockRows];
                for (size_t r = 0; r < count; ++r) {
                    typename Wide::Row* const wide = block + r * num_steps * Op::kStep;
                    widen<Op>(static_cast<const typename Op::Row*>(rows[first + r]) + begin, num_elements, wide);
                    starts[r] = wide;
                }
                piece<Wide>(starts, count, queries + begin, query_stride, num_queries, num_steps, here, ahead);
            }
        }
    }
}

constexpr TopkKernels kTable = {HARKEN_NAME, dots<Float32>, dots<Float16>, dots<Bfloat16>, dots<Int8>};

}  // namespace
}  // namespace harken

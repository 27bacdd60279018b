// topk against a sort of all scores: every dtype, filters, exclusion, ties, strides, bad rows; every instruction set's kernels.
#include "topk.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "check.h"
#include "error.h"
#include "half.h"
#include "random.h"
#include "topk_kernels.h"

using namespace harken;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Small whole numbers, so that sums are exact in every dtype and many scores tie.
struct Rows {
    std::vector<float> values;
    std::vector<char> bytes;
    Corpus corpus;

    Rows(Random& random, DType dtype, std::size_t num_rows, std::size_t width, std::size_t stride)
        : values(num_rows * width) {
        const std::size_t item = dtype_bytes(dtype);
        // As long as the last row needs, so that a read past it is noticed.
        bytes.resize(num_rows ? ((num_rows - 1) * stride + width) * item : 0);
        for (std::size_t r = 0; r < num_rows; ++r)
            for (std::size_t d = 0; d < width; ++d) {
                const float value = static_cast<float>(static_cast<int>(random.next() % 5) - 2);
                values[r * width + d] = value;
                put(dtype, (r * stride + d) * item, value);
            }
        corpus = {dtype, bytes.data(), num_rows, width, stride, nullptr};
    }

    void put(DType dtype, std::size_t at, float value) {
        const std::uint16_t bits = dtype == DType::float16 ? float_to_half(value) : float_to_bfloat16(value);
        const std::int8_t byte = static_cast<std::int8_t>(dtype == DType::int8 ? value : 0);
        const void* from = dtype == DType::float32 ? static_cast<const void*>(&value)
                           : dtype == DType::int8  ? static_cast<const void*>(&byte)
                                                   : &bits;
        std::memcpy(bytes.data() + at, from, dtype_bytes(dtype));
    }
};

void against_sort(Random& random, DType dtype, std::size_t num_rows, std::size_t width, std::size_t num_queries,
                  std::size_t k, bool filtered, bool excluding, ThreadPool& pool) {
    Rows rows(random, dtype, num_rows, width, width + (num_rows % 3));
    std::vector<float> scales(num_rows), queries(num_queries * width);
    for (float& scale : scales) scale = std::ldexp(1.0f, static_cast<int>(random.next() % 4) - 2);
    if (dtype == DType::int8 && num_rows % 2) rows.corpus.scales = scales.data();
    for (float& value : queries) value = static_cast<float>(static_cast<int>(random.next() % 5) - 2);
    std::vector<std::uint64_t> filter(num_rows / 64 + 1);
    for (std::uint64_t& word : filter) word = random.next() & random.next();
    std::vector<std::int64_t> exclude(num_queries);
    for (std::int64_t& id : exclude) id = static_cast<std::int64_t>(random.next() % (num_rows + 1)) - 1;

    std::vector<float> scores(num_queries * k);
    std::vector<std::int64_t> ids(num_queries * k);
    topk(rows.corpus, queries.data(), num_queries, k, filtered ? filter.data() : nullptr, scores.data(), ids.data(),
         pool, excluding ? exclude.data() : nullptr);
    for (std::size_t q = 0; q < num_queries; ++q) {
        std::vector<std::pair<double, std::int64_t>> all;
        for (std::size_t r = 0; r < num_rows; ++r) {
            if (filtered && !(filter[r / 64] >> (r % 64) & 1)) continue;
            if (excluding && exclude[q] == static_cast<std::int64_t>(r)) continue;
            double score = 0;
            for (std::size_t d = 0; d < width; ++d) score += rows.values[r * width + d] * queries[q * width + d];
            all.emplace_back(-score * (rows.corpus.scales ? scales[r] : 1), static_cast<std::int64_t>(r));
        }
        std::sort(all.begin(), all.end());
        for (std::size_t i = 0; i < k; ++i) {
            CHECK(ids[q * k + i] == (i < all.size() ? all[i].second : -1));
            CHECK(scores[q * k + i] == (i < all.size() ? static_cast<float>(-all[i].first) : -kInfinity));
        }
    }
}

void find_what_a_sort_finds() {
    Random random;
    ThreadPool one(1), three(3);
    for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16, DType::int8})
        for (const std::size_t num_rows : {0, 1, 7, 8, 9, 64, 300, 1000})
            for (const std::size_t width : {1, 7, 32, 65, 640})
                for (const std::size_t num_queries : {1, 3, 9, 50}) {
                    const bool filtered = random.next() & 1, excluding = random.next() & 1;
                    const std::size_t k = 1 + random.next() % 40;
                    against_sort(random, dtype, num_rows, width, num_queries, k, filtered, excluding,
                                 num_rows % 2 ? one : three);
                }
    against_sort(random, DType::float32, 2000, 5, 2, 1024, false, false, three);
    against_sort(random, DType::int8, 40, 5000, 3, 5, false, false, one);
    against_sort(random, DType::float16, 40, 5000, 3, 5, false, false, one);
    against_sort(random, DType::float32, 100, 8, 1030, 3, true, true, three);
}

/// Equal rows tie wherever they lie, alone or in a batch, on one thread or several.
void sums_have_one_order(std::size_t width) {
    Random random;
    constexpr std::size_t kRows = 3000, kQueries = 11, kHits = 300;
    std::vector<float> rows = random.numbers(kRows * width);
    const std::vector<float> queries = random.numbers(kQueries * width);
    for (std::size_t i = 0; i < 200; ++i)
        std::copy_n(queries.data() + width, width, rows.data() + (i * 13 + 5) * width);
    const Corpus corpus{DType::float32, rows.data(), kRows, width, 0, nullptr};
    std::vector<float> scores(kQueries * kHits), alone(kHits);
    std::vector<std::int64_t> ids(kQueries * kHits), alone_ids(kHits);
    ThreadPool one(1), four(4);
    topk(corpus, queries.data(), kQueries, kHits, nullptr, scores.data(), ids.data(), four);
    for (std::size_t i = 0; i < 200; ++i)
        CHECK(ids[kHits + i] == static_cast<std::int64_t>(i * 13 + 5) && scores[kHits + i] == scores[kHits]);
    for (std::size_t q = 0; q < kQueries; ++q) {
        topk(corpus, queries.data() + q * width, 1, kHits, nullptr, alone.data(), alone_ids.data(), one);
        CHECK(std::equal(alone.begin(), alone.end(), scores.begin() + static_cast<std::ptrdiff_t>(q * kHits)));
        CHECK(std::equal(alone_ids.begin(), alone_ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(q * kHits)));
    }
}

/// Scores that rise all the way: each row beats all before it.
void rising_scores() {
    constexpr std::size_t kRows = 20000;
    std::vector<float> rows(kRows), scores(3);
    for (std::size_t i = 0; i < kRows; ++i) rows[i] = static_cast<float>(i);
    std::vector<std::int64_t> ids(3);
    ThreadPool two(2);
    const float query = 1;
    topk({DType::float32, rows.data(), kRows, 1, 0, nullptr}, &query, 1, 3, nullptr, scores.data(), ids.data(), two);
    CHECK(ids[0] == kRows - 1 && ids[2] == kRows - 3 && scores[0] == kRows - 1);
}

void kernels_of_every_instruction_set() {
    Random random;
    for (const std::size_t width : {1, 15, 16, 31, 33, 512, 700, 2100, 2560}) {
        const std::size_t stride = (width + 31) / 32 * 32;
        const std::vector<float> rows = random.numbers(16 * width);
        std::vector<float> queries(7 * stride, 0.0f);
        for (std::size_t q = 0; q < 7; ++q)
            for (std::size_t d = 0; d < width; ++d) queries[q * stride + d] = random.number();
        std::vector<std::uint16_t> half(rows.size()), brain(rows.size());
        std::vector<std::int8_t> bytes(rows.size());
        std::vector<std::int16_t> fixed(queries.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            half[i] = float_to_half(rows[i]);
            brain[i] = float_to_bfloat16(rows[i]);
            bytes[i] = static_cast<std::int8_t>(std::clamp(rows[i] * 129, -128.0f, 127.0f));
        }
        for (std::size_t i = 0; i < queries.size(); ++i) fixed[i] = static_cast<std::int16_t>(queries[i] * 32767);
        const void* starts[4][16];
        for (std::size_t r = 0; r < 16; ++r) {
            starts[0][r] = rows.data() + r * width;
            starts[1][r] = half.data() + r * width;
            starts[2][r] = brain.data() + r * width;
            starts[3][r] = bytes.data() + r * width;
        }
        for (const TopkKernels* table : all_topk_kernels()) {
            float found[4][7 * 16];
            table->dots_float32(starts[0], 16, width, queries.data(), stride, 7, found[0], 16);
            table->dots_float16(starts[1], 16, width, queries.data(), stride, 7, found[1], 16);
            table->dots_bfloat16(starts[2], 16, width, queries.data(), stride, 7, found[2], 16);
            table->dots_int8(starts[3], 16, width, fixed.data(), stride, 7, found[3], 16);
            // A few queries take another way and get the same bits.
            for (std::size_t count = 1; count < 5; ++count) {
                float few[4][4 * 16];
                table->dots_float32(starts[0], 16, width, queries.data(), stride, count, few[0], 16);
                table->dots_float16(starts[1], 16, width, queries.data(), stride, count, few[1], 16);
                table->dots_bfloat16(starts[2], 16, width, queries.data(), stride, count, few[2], 16);
                table->dots_int8(starts[3], 16, width, fixed.data(), stride, count, few[3], 16);
                for (int kind = 0; kind < 4; ++kind) CHECK(std::equal(few[kind], few[kind] + count * 16, found[kind]));
            }
            for (std::size_t q = 0; q < 7; ++q)
                for (std::size_t r = 0; r < 16; ++r) {
                    double exact[4] = {}, size = 0;
                    for (std::size_t d = 0; d < width; ++d) {
                        const double y = queries[q * stride + d];
                        const std::size_t i = r * width + d;
                        exact[0] += y * rows[i];
                        exact[1] += y * half_to_float(half[i]);
                        exact[2] += y * bfloat16_to_float(brain[i]);
                        exact[3] += static_cast<double>(fixed[q * stride + d]) * bytes[i];
                        size += std::fabs(y * rows[i]);
                    }
                    for (int kind = 0; kind < 3; ++kind)
                        CHECK_NEAR(found[kind][q * 16 + r], exact[kind], size * 1e-6 + 1e-9);
                    // Whole numbers, rounded to float32 once a piece of 512.
                    CHECK_NEAR(found[3][q * 16 + r], exact[3],
                               width <= 512 ? std::fabs(exact[3]) * 0x1p-24 : size * 4e6 * 1e-6 + 1);
                }
        }
    }
}

std::string error_of(const Corpus& corpus, const std::vector<float>& query, std::size_t k,
                     const std::uint64_t* filter = nullptr) {
    std::vector<float> scores(2048);
    std::vector<std::int64_t> ids(2048);
    ThreadPool pool(1);
    try {
        topk(corpus, query.data(), 1, k, filter, scores.data(), ids.data(), pool);
    } catch (const Error& error) {
        CHECK(error.code() == HARKEN_INVALID_ARGUMENT);
        return error.what();
    }
    return "";
}

void say_what_is_wrong() {
    std::vector<float> rows(300 * 2, 1.0f);
    Corpus corpus{DType::float32, rows.data(), 300, 2, 0, nullptr};
    CHECK(error_of(corpus, {1, 1}, 1024).empty());
    CHECK(error_of(corpus, {1, 1}, 0).find("k must be 1..1024, got 0") != std::string::npos);
    CHECK(error_of(corpus, {1, 1}, 1025).find("k must be") != std::string::npos);
    CHECK(error_of(corpus, {1, NAN}, 1).find("query 0 holds NaN") != std::string::npos);
    CHECK(error_of({DType::float64, rows.data(), 300, 2, 0, nullptr}, {1, 1}, 1).find("float64") != std::string::npos);
    CHECK(error_of({DType::float32, rows.data(), 300, 0, 0, nullptr}, {}, 1).find("0 wide") != std::string::npos);
    CHECK(error_of({DType::float32, rows.data(), 300, 2, 1, nullptr}, {1, 1}, 1).find("row_stride") !=
          std::string::npos);
    CHECK(error_of({DType::float32, rows.data(), 300, 2, 0, rows.data()}, {1, 1}, 1).find("scales go with") !=
          std::string::npos);
    for (const float value : {kInfinity, -kInfinity, static_cast<float>(NAN)}) {
        rows[2 * 211] = rows[2 * 280 + 1] = value;
        CHECK(error_of(corpus, {1, 0}, 3).find("corpus row 211 holds NaN or infinity") != std::string::npos);
        std::vector<std::uint64_t> filter(5, ~std::uint64_t{0});
        filter[211 / 64] &= ~(std::uint64_t{1} << (211 % 64));
        CHECK(error_of(corpus, {1, 0}, 3, filter.data()).find("corpus row 280") != std::string::npos);
        filter[280 / 64] &= ~(std::uint64_t{1} << (280 % 64));
        CHECK(error_of(corpus, {1, 0}, 3, filter.data()).empty());
    }
    std::vector<std::uint16_t> halves(2, 0x3c00);
    CHECK(error_of({DType::float16, halves.data(), 1, 2, 0, nullptr}, {70000, 1}, 1).find("past float16") !=
          std::string::npos);
}

}  // namespace

int main() {
    find_what_a_sort_finds();
    sums_have_one_order(123);
    sums_have_one_order(128);
    rising_scores();
    kernels_of_every_instruction_set();
    say_what_is_wrong();
}

#include "topk.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "buffer.h"
#include "error.h"
#include "half.h"
#include "topk_kernels.h"

namespace harken {
namespace {

constexpr std::size_t kMaxK = 1024, kMaxWidth = 65536;
// Rows scored before their scores are looked at, and what they may take: of a batch of queries, part of a second cache. A few
// queries meet each row once, and a larger block stops them less often.
constexpr std::size_t kMaxBlockRows = 1024, kFewQueries = 4;
constexpr std::size_t kBatchBlockRows = 256, kBlockRowBytes = 1024;
// Queries that meet a block at a time, and queries of one pass over the corpus.
constexpr std::size_t kQueryGroup = 48, kPassQueries = 1024;
// Queries are padded with zeros to whole registers of any instruction set.
constexpr std::size_t kPadding = 32;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Found {
    float score;
    std::int64_t id;
};

bool better(const Found& a, const Found& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; }

/// The k best of what it was given with rising ids: twice as many are kept until the worse half is dropped.
class Keeper {
  public:
    void begin(std::size_t k) {
        k_ = k;
        threshold_ = -kInfinity;
        found_.clear();
    }

    /// A score has to be above this to matter: a tie goes to the id that came before.
    [[nodiscard]] float threshold() const { return threshold_; }

    void add(float score, std::int64_t id) {
        found_.push_back({score, id});
        if (found_.size() < 2 * k_ + 32) return;
        std::nth_element(found_.begin(), found_.begin() + static_cast<std::ptrdiff_t>(k_ - 1), found_.end(), better);
        found_.resize(k_);
        threshold_ = found_.back().score;
    }

    [[nodiscard]] const std::vector<Found>& found() const { return found_; }

  private:
    std::size_t k_ = 1;
    float threshold_ = -kInfinity;
    std::vector<Found> found_;
};

/// Queries as the kernels want them: rounded to the product's dtype, padded with zeros.
class Queries {
  public:
    Queries(const Corpus& corpus, const float* queries, std::size_t num_queries)
        : stride_((corpus.width + kPadding - 1) / kPadding * kPadding) {
        const bool integers = corpus.dtype == DType::int8;
        if (integers) {
            steps_.resize(num_queries);
            fixed_ = Buffer<std::int16_t>(num_queries * stride_);
        } else {
            rounded_ = Buffer<float>(num_queries * stride_);
        }
        std::vector<float> row(corpus.width);
        for (std::size_t q = 0; q < num_queries; ++q) {
            for (std::size_t d = 0; d < corpus.width; ++d) {
                row[d] = round_to(corpus.dtype, queries[q * corpus.width + d]);
                if (!std::isfinite(row[d]))
                    throw Error(HARKEN_INVALID_ARGUMENT, "topk: query " + std::to_string(q) +
                                                             " holds NaN, infinity or a value past " +
                                                             (integers ? "float16" : dtype_name(corpus.dtype)));
            }
            if (integers) {
                steps_[q] = to_fixed(row, fixed_.data() + q * stride_);
            } else {
                std::fill(std::copy(row.begin(), row.end(), rounded_.data() + q * stride_),
                          rounded_.data() + (q + 1) * stride_, 0.0f);
            }
        }
    }

    [[nodiscard]] std::size_t stride() const { return stride_; }
    [[nodiscard]] const float* rounded(std::size_t q) const { return rounded_.data() + q * stride_; }
    [[nodiscard]] const std::int16_t* fixed(std::size_t q) const { return fixed_.data() + q * stride_; }
    /// What a query's sums over int8 are to be multiplied by.
    [[nodiscard]] float step(std::size_t q) const { return steps_[q]; }

  private:
    static float round_to(DType dtype, float value) {
        switch (dtype) {
            case DType::float32: return value;
            case DType::bfloat16: return bfloat16_to_float(float_to_bfloat16(value));
            default: return half_to_float(float_to_half(value));
        }
    }

    /// 16 bits with the finest step, a power of two, that the largest value allows; gives the step.
    float to_fixed(const std::vector<float>& row, std::int16_t* out) const {
        float largest = 0;
        for (const float value : row) largest = std::max(largest, std::fabs(value));
        int exponent = 0;
        if (largest > 0) std::frexp(largest, &exponent);
        // largest < 2^exponent, so every value is below 2^15 steps; one that rounds up to 2^15 would not fit.
        float step = std::ldexp(1.0f, exponent - 15);
        if (std::lrint(largest / step) > 32767) step *= 2;
        std::size_t d = 0;
        for (; d < row.size(); ++d) out[d] = static_cast<std::int16_t>(std::lrint(row[d] / step));
        std::fill(out + d, out + stride_, std::int16_t{0});
        return step;
    }

    std::size_t stride_;
    Buffer<float> rounded_;
    Buffer<std::int16_t> fixed_;
    std::vector<float> steps_;
};

/// One thread's part of a pass.
class Scan {
  public:
    Scan(const Corpus& corpus, const std::uint64_t* filter, const std::int64_t* exclude, const Queries& queries,
         std::size_t num_queries, std::size_t k, std::size_t block_rows)
        : corpus_(corpus),
          filter_(filter),
          exclude_(exclude),
          queries_(queries),
          num_queries_(num_queries),
          keepers_(num_queries),
          scores_(std::min(num_queries, kQueryGroup) * block_rows),
          block_rows_(block_rows),
          first_bad_(corpus.num_rows) {
        for (Keeper& keeper : keepers_) keeper.begin(k);
    }

    [[nodiscard]] const Keeper& keeper(std::size_t q) const { return keepers_[q]; }
    [[nodiscard]] std::size_t first_bad() const { return first_bad_; }

    void search(std::size_t block) {
        gather(block * block_rows_);
        if (num_kept_ == 0) return;
        for (std::size_t q = 0; q < num_queries_; q += kQueryGroup) {
            const std::size_t count = std::min(kQueryGroup, num_queries_ - q);
            score(q, count);
            if (q == 0) look_for_bad();
            for (std::size_t i = 0; i < count; ++i) keep_best(q + i, scores_.data() + i * block_rows_);
        }
    }

  private:
    /// The rows of a block that are searched, the last one again up to a whole group.
    void gather(std::size_t first) {
        first_ = first;
        num_kept_ = 0;
        const std::size_t count = std::min(block_rows_, corpus_.num_rows - first);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t row = first + i;
            kept_[num_kept_] = static_cast<std::uint16_t>(i);
            num_kept_ += filter_ == nullptr || (filter_[row / 64] >> (row % 64) & 1);
        }
        if (num_kept_ == 0) return;
        const std::size_t stride =
            (corpus_.row_stride ? corpus_.row_stride : corpus_.width) * dtype_bytes(corpus_.dtype);
        const char* base = static_cast<const char*>(corpus_.rows) + first * stride;
        num_scored_ = (num_kept_ + kTopkGroup - 1) / kTopkGroup * kTopkGroup;
        for (std::size_t i = 0; i < num_scored_; ++i) rows_[i] = base + kept_[std::min(i, num_kept_ - 1)] * stride;
    }

    void score(std::size_t q, std::size_t count) {
        const TopkKernels& table = topk_kernels();
        if (corpus_.dtype == DType::int8) {
            table.dots_int8(rows_, num_scored_, corpus_.width, queries_.fixed(q), queries_.stride(), count,
                            scores_.data(), block_rows_);
            scale(q, count);
            return;
        }
        const auto dots = corpus_.dtype == DType::float32   ? table.dots_float32
                          : corpus_.dtype == DType::float16 ? table.dots_float16
                                                            : table.dots_bfloat16;
        dots(rows_, num_scored_, corpus_.width, queries_.rounded(q), queries_.stride(), count, scores_.data(),
             block_rows_);
    }

    void scale(std::size_t q, std::size_t count) {
        float scales[kMaxBlockRows];
        for (std::size_t i = 0; i < num_kept_; ++i)
            scales[i] = corpus_.scales ? corpus_.scales[first_ + kept_[i]] : 1.0f;
        for (std::size_t j = 0; j < count; ++j) {
            float* scores = scores_.data() + j * block_rows_;
            const float step = queries_.step(q + j);
            for (std::size_t i = 0; i < num_kept_; ++i) scores[i] = scores[i] * step * scales[i];
        }
    }

    /// A row that is not finite spoils its score with every query, so the first tells.
    void look_for_bad() {
        bool bad = false;
        for (std::size_t i = 0; i < num_kept_; ++i)
            bad |= !(std::fabs(scores_[i]) <= std::numeric_limits<float>::max());
        if (!bad) return;
        for (std::size_t i = 0; i < num_kept_; ++i)
            if (!std::isfinite(scores_[i])) first_bad_ = std::min(first_bad_, first_ + kept_[i]);
    }

    void keep_best(std::size_t q, const float* scores) {
        constexpr std::size_t kStep = 32;
        Keeper& keeper = keepers_[q];
        const std::int64_t excluded = exclude_ ? exclude_[q] : -1;
        for (std::size_t begin = 0; begin < num_kept_; begin += kStep) {
            const std::size_t end = std::min(begin + kStep, num_kept_);
            const float threshold = keeper.threshold();
            int any = 0;
            for (std::size_t i = begin; i < end; ++i) any |= scores[i] > threshold;
            if (!any) continue;
            for (std::size_t i = begin; i < end; ++i) {
                const std::int64_t id = static_cast<std::int64_t>(first_ + kept_[i]);
                if (scores[i] > keeper.threshold() && id != excluded) keeper.add(scores[i], id);
            }
        }
    }

    const Corpus& corpus_;
    const std::uint64_t* filter_;
    const std::int64_t* exclude_;
    const Queries& queries_;
    std::size_t num_queries_;
    std::vector<Keeper> keepers_;
    Buffer<float> scores_;  // [query group, block_rows_]
    std::size_t block_rows_, first_bad_;
    // The block's rows that are searched.
    std::size_t first_ = 0, num_kept_ = 0, num_scored_ = 0;
    std::uint16_t kept_[kMaxBlockRows + 1];
    const void* rows_[kMaxBlockRows];
};

/// One read of the corpus for up to kPassQueries queries.
std::size_t pass(const Corpus& corpus, const float* queries, std::size_t num_queries, std::size_t k,
                 const std::uint64_t* filter, const std::int64_t* exclude, float* scores, std::int64_t* ids,
                 ThreadPool& pool) {
    const Queries packed(corpus, queries, num_queries);
    const std::size_t row_bytes = corpus.width * dtype_bytes(corpus.dtype);
    const std::size_t max_rows = num_queries <= kFewQueries ? kMaxBlockRows : kBatchBlockRows;
    const std::size_t block_rows =
        std::clamp<std::size_t>(max_rows * kBlockRowBytes / row_bytes / kTopkGroup * kTopkGroup, kTopkGroup, max_rows);
    const std::size_t num_blocks = (corpus.num_rows + block_rows - 1) / block_rows;
    const std::size_t num_scans = std::min<std::size_t>(static_cast<std::size_t>(pool.size()), num_blocks);
    std::vector<Scan> scans;
    scans.reserve(num_scans);
    for (std::size_t i = 0; i < num_scans; ++i)
        scans.emplace_back(corpus, filter, exclude, packed, num_queries, k, block_rows);
    // Neighbouring blocks go to one thread, in rising order, and the last ones are shared out finely.
    const std::size_t run = std::clamp<std::size_t>(num_blocks / (num_scans ? num_scans * 16 : 1), 1, 64);
    std::atomic<std::size_t> next{0};
    pool.parallel_for(num_scans, 1, [&](std::size_t begin, std::size_t) {
        for (std::size_t first; (first = next.fetch_add(run, std::memory_order_relaxed)) < num_blocks;)
            for (std::size_t block = first; block < std::min(first + run, num_blocks); ++block)
                scans[begin].search(block);
    });

    std::vector<Found> all;
    for (std::size_t q = 0; q < num_queries; ++q) {
        all.clear();
        for (const Scan& scan : scans)
            all.insert(all.end(), scan.keeper(q).found().begin(), scan.keeper(q).found().end());
        const std::size_t count = std::min(k, all.size());
        std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(), better);
        for (std::size_t i = 0; i < k; ++i) {
            scores[q * k + i] = i < count ? all[i].score : -kInfinity;
            ids[q * k + i] = i < count ? all[i].id : -1;
        }
    }
    std::size_t first_bad = corpus.num_rows;
    for (const Scan& scan : scans) first_bad = std::min(first_bad, scan.first_bad());
    return first_bad;
}

[[noreturn]] void refuse(const std::string& why) { throw Error(HARKEN_INVALID_ARGUMENT, "topk: " + why); }

void check(const Corpus& corpus, std::size_t k) {
    if (corpus.dtype != DType::float32 && corpus.dtype != DType::float16 && corpus.dtype != DType::bfloat16 &&
        corpus.dtype != DType::int8)
        refuse(std::string("the corpus is ") + dtype_name(corpus.dtype) +
               "; wanted float32, float16, bfloat16 or int8");
    if (corpus.width < 1 || corpus.width > kMaxWidth)
        refuse("the corpus is " + std::to_string(corpus.width) + " wide; wanted 1.." + std::to_string(kMaxWidth));
    if (corpus.row_stride != 0 && corpus.row_stride < corpus.width)
        refuse("row_stride must be 0 or at least " + std::to_string(corpus.width) + ", got " +
               std::to_string(corpus.row_stride));
    if (corpus.scales != nullptr && corpus.dtype != DType::int8) refuse("scales go with an int8 corpus");
    if (k < 1 || k > kMaxK) refuse("k must be 1.." + std::to_string(kMaxK) + ", got " + std::to_string(k));
}

}  // namespace

std::size_t topk_unchecked(const Corpus& corpus, const float* queries, std::size_t num_queries, std::size_t k,
                           const std::uint64_t* filter, float* scores, std::int64_t* ids, ThreadPool& pool,
                           const std::int64_t* exclude) {
    check(corpus, k);
    std::size_t first_bad = corpus.num_rows;
    for (std::size_t q = 0; q < num_queries; q += kPassQueries)
        first_bad =
            std::min(first_bad, pass(corpus, queries + q * corpus.width, std::min(kPassQueries, num_queries - q), k,
                                     filter, exclude ? exclude + q : nullptr, scores + q * k, ids + q * k, pool));
    return first_bad;
}

void topk(const Corpus& corpus, const float* queries, std::size_t num_queries, std::size_t k,
          const std::uint64_t* filter, float* scores, std::int64_t* ids, ThreadPool& pool,
          const std::int64_t* exclude) {
    const std::size_t bad = topk_unchecked(corpus, queries, num_queries, k, filter, scores, ids, pool, exclude);
    if (bad < corpus.num_rows)
        refuse("corpus row " + std::to_string(bad) + " holds NaN or infinity, or overflows; wanted finite rows");
}

}  // namespace harken

#include "pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "buffer.h"
#include "error.h"

namespace harken {
namespace {
constexpr float kHeadEps = 1e-5f;
}  // namespace

PoolHead::PoolHead(const Bundle& bundle, const std::string& name)
    : linear_(bundle.matrix(name + ".linear", bundle.dim, bundle.decoder.width)) {
    if (bundle.has(name + ".norm.weight")) norm_ = LayerNorm::load(bundle, name + ".norm", bundle.dim, kHeadEps);
}

void PoolHead::run(const float* x, std::size_t num_rows, float* y, ThreadPool& pool) const {
    linear(linear_, x, num_rows, y, false, pool);
    if (norm_) norm_->run(y, num_rows, y, pool);
}

void normalize_rows(float* x, std::size_t num_rows, std::size_t width) noexcept {
    for (std::size_t i = 0; i < num_rows; ++i, x += width) {
        double squares = 0;
        for (std::size_t j = 0; j < width; ++j) squares += static_cast<double>(x[j]) * x[j];
        const float length = std::max(static_cast<float>(std::sqrt(squares)), kMinNorm);
        for (std::size_t j = 0; j < width; ++j) x[j] /= length;
    }
}

void pool_vectors(const float* hidden, const std::vector<RowRange>& ranges, const RmsNorm& norm, const PoolHead* head,
                  const Recipe& recipe, float* vectors, ThreadPool& pool) {
    const std::size_t width = norm.width, num_vectors = ranges.size();
    Buffer<float> pooled(num_vectors * width);
    pool.parallel_for(num_vectors, 1, [&](std::size_t begin, std::size_t end) {
        Buffer<float> row(width);
        for (std::size_t b = begin; b < end; ++b) {
            float* sum = pooled.data() + b * width;
            std::fill(sum, sum + width, 0.0f);
            for (std::size_t n = ranges[b].first; n < ranges[b].end; ++n) {
                kernels().rms_norm(hidden + n * width, norm.weight, width, norm.eps, row.data());
                for (std::size_t j = 0; j < width; ++j) sum[j] += row[j];
            }
            const auto count = static_cast<float>(ranges[b].end - ranges[b].first);
            for (std::size_t j = 0; j < width; ++j) sum[j] /= count;
        }
    });
    if (recipe.normalize_before_head && head != nullptr) normalize_rows(pooled.data(), num_vectors, width);
    if (head == nullptr)
        std::memcpy(vectors, pooled.data(), num_vectors * width * sizeof(float));
    else
        head->run(pooled.data(), num_vectors, vectors, pool);
    if (recipe.normalize) normalize_rows(vectors, num_vectors, head == nullptr ? width : head->dim());
}

}  // namespace harken

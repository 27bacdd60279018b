// Attention equals a loop in double precision, whatever the lengths, heads and threads.
#include "attention.h"

#include "check.h"
#include "random.h"

using namespace harken;

namespace {

void check(const AttentionShape& shape, const std::vector<std::size_t>& lengths, bool last_only, ThreadPool& pool) {
    Random random;
    const Segments segments(lengths);
    const std::size_t width = shape.head_width, q_width = shape.num_heads * width;
    const std::size_t ldx = (shape.num_heads + 2 * shape.num_kv_heads) * width;
    const std::size_t num_queries = last_only ? segments.size() : segments.num_rows();
    std::vector<float> kv = random.numbers(segments.num_rows() * ldx), q = random.numbers(num_queries * ldx);
    for (float& value : q) value *= 4;
    std::vector<float> out(num_queries * q_width, NAN);
    const float *k = kv.data() + q_width, *v = k + shape.num_kv_heads * width;
    attention(shape, q.data(), k, v, ldx, segments, last_only, out.data(), pool);
    std::size_t row = 0;
    for (std::size_t s = 0; s < segments.size(); ++s)
        for (std::size_t i = last_only ? segments.length(s) - 1 : 0; i < segments.length(s); ++i, ++row)
            for (std::size_t h = 0; h < shape.num_heads; ++h) {
                const std::size_t at = h / (shape.num_heads / shape.num_kv_heads) * width;
                std::vector<double> want(width);
                double sum = 0;
                for (std::size_t j = 0; j < (shape.causal ? i + 1 : segments.length(s)); ++j) {
                    double score = 0;
                    for (std::size_t d = 0; d < width; ++d)
                        score += q[row * ldx + h * width + d] * static_cast<double>(k[(segments.start(s) + j) * ldx + at + d]);
                    const double weight = std::exp(score * shape.scale);
                    sum += weight;
                    for (std::size_t d = 0; d < width; ++d) want[d] += weight * v[(segments.start(s) + j) * ldx + at + d];
                }
                for (std::size_t d = 0; d < width; ++d)
                    CHECK_NEAR(out[row * q_width + h * width + d], want[d] / sum, 3e-6);
            }
}

}  // namespace

int main() {
    ThreadPool one(1), three(3);
    for (const bool causal : {false, true}) {
        check({4, 2, 6, causal, 0.4f}, {1, 2, 17, 49, 1}, false, three);
        check({4, 2, 6, causal, 0.4f}, {1, 2, 17, 49, 1}, true, three);
        check({3, 3, 64, causal, 0.125f}, {241, 300}, false, three);
        check({2, 1, 33, causal, 0.2f}, {16, 48}, false, one);
    }
}

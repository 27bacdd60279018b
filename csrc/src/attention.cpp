#include "attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "linear.h"

namespace harken {
namespace {

// Queries whose scores are held at once, queries a task, and keys that meet a panel of values while both are cached.
constexpr std::size_t kTileQueries = 48, kTaskQueries = 240, kChunkKeys = 256;

/// Queries of one head of one sequence.
struct Task {
    std::size_t head;
    std::size_t first_key, num_keys;    // rows of k and v
    std::size_t first_query, num_queries;  // rows of q
    std::size_t first_position;         // of the first query in its sequence
};

std::vector<Task> plan(const AttentionShape& shape, const Segments& segments, bool last_only) {
    std::vector<Task> tasks;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::size_t length = segments.length(i);
        for (std::size_t head = 0; head < shape.num_heads && length > 0; ++head) {
            if (last_only) {
                tasks.push_back({head, segments.start(i), length, i, 1, length - 1});
                continue;
            }
            for (std::size_t first = 0; first < length; first += kTaskQueries) {
                const std::size_t count = std::min(kTaskQueries, length - first);
                const std::size_t keys = shape.causal ? first + count : length;
                tasks.push_back({head, segments.start(i), keys, segments.start(i) + first, count, first});
            }
        }
    }
    return tasks;
}

/// Values [num_keys, width] as panels [ceil(width / 16)][num_keys][16].
void pack_values(const float* v, std::size_t ldv, std::size_t num_keys, std::size_t width, float* panels) {
    for (std::size_t column = 0; column < width; column += kPanel) {
        const std::size_t count = std::min(kPanel, width - column);
        for (std::size_t key = 0; key < num_keys; ++key, panels += kPanel) {
            std::memcpy(panels, v + key * ldv + column, count * sizeof(float));
            std::memset(panels + count, 0, (kPanel - count) * sizeof(float));
        }
    }
}

class Head {
  public:
    Head(const AttentionShape& shape, const Task& task, const float* k, const float* v, std::size_t ldx)
        : shape_(shape), task_(task), width_(shape.head_width),
          keys_((task.num_keys + kPanel - 1) / kPanel * kPanel * width_),
          values_((width_ + kPanel - 1) / kPanel * kPanel * task.num_keys), scores_(kTileQueries * task.num_keys),
          strips_(kTileQueries * std::max(width_, task.num_keys)) {
        const std::size_t at = task.first_key * ldx + task.head / (shape.num_heads / shape.num_kv_heads) * width_;
        pack_panels(k + at, ldx, task.num_keys, width_, keys_.data());
        pack_values(v + at, ldx, task.num_keys, width_, values_.data());
    }

    void run(const float* q, std::size_t ldx, float* out) {
        const std::size_t ldy = shape_.num_heads * width_;
        for (std::size_t first = 0; first < task_.num_queries; first += kTileQueries) {
            const std::size_t row = task_.first_query + first;
            tile(q + row * ldx + task_.head * width_, ldx, std::min(kTileQueries, task_.num_queries - first),
                 task_.first_position + first, out + row * ldy + task_.head * width_, ldy);
        }
    }

  private:
    void tile(const float* q, std::size_t ldx, std::size_t num_queries, std::size_t position, float* out, std::size_t ldy) {
        const Kernels& kernel = kernels();
        const std::size_t num_keys = shape_.causal ? std::min(task_.num_keys, position + num_queries) : task_.num_keys;
        kernel.pack_rows(q, ldx, num_queries, width_, strips_.data());
        kernel.product(strips_.data(), num_queries, width_, keys_.data(), width_ * kPanel, num_keys, scores_.data(), num_keys,
                       false);
        float sums[kTileQueries];
        for (std::size_t i = 0; i < num_queries; ++i) {
            float* row = scores_.data() + i * num_keys;
            const std::size_t seen = shape_.causal ? std::min(num_keys, position + i + 1) : num_keys;
            sums[i] = kernel.exp_row(row, seen, shape_.scale);
            std::memset(row + seen, 0, (num_keys - seen) * sizeof(float));
        }
        for (std::size_t key = 0; key < num_keys; key += kChunkKeys) {
            const std::size_t count = std::min(kChunkKeys, num_keys - key);
            kernel.pack_rows(scores_.data() + key, num_keys, num_queries, count, strips_.data());
            kernel.product(strips_.data(), num_queries, count, values_.data() + key * kPanel, task_.num_keys * kPanel, width_,
                           out, ldy, key > 0);
        }
        for (std::size_t i = 0; i < num_queries; ++i)
            for (std::size_t d = 0; d < width_; ++d) out[i * ldy + d] /= sums[i];
    }

    const AttentionShape& shape_;
    const Task& task_;
    std::size_t width_;
    Buffer<float> keys_, values_, scores_, strips_;
};

}  // namespace

void attention(const AttentionShape& shape, const float* q, const float* k, const float* v, std::size_t ldx,
               const Segments& segments, bool last_only, float* out, ThreadPool& pool) {
    const std::vector<Task> tasks = plan(shape, segments, last_only);
    pool.parallel_for(tasks.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) Head(shape, tasks[i], k, v, ldx).run(q, ldx, out);
    });
}

}  // namespace harken

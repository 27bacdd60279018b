/// \file
/// What towers and decoders are made of besides products and attention, over packed rows and many threads.
#pragma once

#include <cstddef>

#include "bundle.h"
#include "kernels.h"
#include "threads.h"

namespace harken {

// Rows a task; a row is a few kilobytes.
inline constexpr std::size_t kTaskRows = 16;

struct LayerNorm {
    const float* weight = nullptr;
    const float* bias = nullptr;
    std::size_t width = 0;
    float eps = 1e-5f;

    static LayerNorm load(const Bundle& bundle, const std::string& name, std::size_t width, float eps) {
        return {bundle.numbers(name + ".weight", width), bundle.numbers(name + ".bias", width), width, eps};
    }
    void run(const float* x, std::size_t num_rows, float* y, ThreadPool& pool) const {
        pool.parallel_for(num_rows, kTaskRows, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i)
                kernels().layer_norm(x + i * width, weight, bias, width, eps, y + i * width);
        });
    }
};

struct RmsNorm {
    const float* weight = nullptr;
    std::size_t width = 0;
    float eps = 1e-6f;

    static RmsNorm load(const Bundle& bundle, const std::string& name, std::size_t width, float eps) {
        return {bundle.numbers(name + ".weight", width), width, eps};
    }
    void run(const float* x, std::size_t num_rows, float* y, ThreadPool& pool) const {
        pool.parallel_for(num_rows, kTaskRows, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) kernels().rms_norm(x + i * width, weight, width, eps, y + i * width);
        });
    }
};

/// In place, over num_rows rows of `width`.
inline void gelu(float* x, std::size_t num_rows, std::size_t width, ThreadPool& pool) {
    pool.parallel_for(num_rows, kTaskRows,
                      [&](std::size_t begin, std::size_t end) { kernels().gelu(x + begin * width, (end - begin) * width); });
}

}  // namespace harken

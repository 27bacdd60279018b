#include "linear.h"

#include <algorithm>
#include <cstring>

#include "buffer.h"
#include "kernels.h"

namespace harken {
namespace {

// Rows packed at once (a multiple of every tile's rows), and the part of a row that meets a panel while both are cached.
constexpr std::size_t kChunkRows = 240, kChunkK = 256;
// Panels unpacked to float32 at once, and panels a task.
constexpr std::size_t kUnpackedPanels = 2, kTaskPanels = 8;
// Up to so many rows, weights are read panel by panel, as they lie; more rows are worth staying with a part of each.
constexpr std::size_t kFewRows = 48;

static_assert(kChunkK % kScaleSpan == 0);

/// Numbers [k, k + num_k) of an int8 panel as float32.
void unpack_int8(const PackedMatrix& w, std::size_t panel, std::size_t k, std::size_t num_k, float* out) {
    const auto* from = static_cast<const std::int8_t*>(w.panels) + (panel * w.num_in + k) * kPanel;
    for (std::size_t done = 0; done < num_k; done += kScaleSpan) {
        const float* scales = w.scales + ((k + done) / kScaleSpan * w.num_panels() + panel) * kPanel;
        kernels().int8_to_float(from + done * kPanel, scales, std::min(kScaleSpan, num_k - done), out + done * kPanel);
    }
}

/// Panels [first, first + count) of rows [k, k + num_k) as float32.
void unpack(const PackedMatrix& w, std::size_t first, std::size_t count, std::size_t k, std::size_t num_k, float* out) {
    const Kernels& kernel = kernels();
    for (std::size_t panel = first; panel < first + count; ++panel, out += num_k * kPanel) {
        const std::size_t at = (panel * w.num_in + k) * kPanel;
        if (w.dtype == DType::int8)
            unpack_int8(w, panel, k, num_k, out);
        else if (w.dtype == DType::bfloat16)
            kernel.bf16_to_float(static_cast<const std::uint16_t*>(w.panels) + at, num_k * kPanel, out);
        else
            kernel.fp16_to_float(static_cast<const std::uint16_t*>(w.panels) + at, num_k * kPanel, out);
    }
}

void add_bias(const PackedMatrix& w, std::size_t first, std::size_t end, float* y, std::size_t ldy, std::size_t num_rows,
              bool accumulate) {
    for (std::size_t row = 0; row < num_rows; ++row)
        for (std::size_t i = first; i < end; ++i) y[row * ldy + i] = accumulate ? y[row * ldy + i] + w.bias[i] : w.bias[i];
}

/// Columns of the panels [first, last) of one chunk of rows.
void columns(const PackedMatrix& w, const float* strips, std::size_t num_rows, std::size_t first, std::size_t last, float* y,
             std::size_t ldy, bool accumulate, float* unpacked) {
    const Kernels& kernel = kernels();
    const std::size_t end = std::min(last * kPanel, w.num_out);
    if (w.bias != nullptr) add_bias(w, first * kPanel, end, y, ldy, num_rows, accumulate);
    for (std::size_t k = 0; k < w.num_in; k += kChunkK) {
        const std::size_t num_k = std::min(kChunkK, w.num_in - k);
        const bool add = accumulate || w.bias != nullptr || k > 0;
        if (w.dtype == DType::float32) {
            const float* panels = static_cast<const float*>(w.panels) + (first * w.num_in + k) * kPanel;
            kernel.product(strips + k * num_rows, num_rows, num_k, panels, w.num_in * kPanel, end - first * kPanel,
                           y + first * kPanel, ldy, add);
            continue;
        }
        for (std::size_t panel = first; panel < last; panel += kUnpackedPanels) {
            const std::size_t count = std::min(kUnpackedPanels, last - panel);
            unpack(w, panel, count, k, num_k, unpacked);
            kernel.product(strips + k * num_rows, num_rows, num_k, unpacked, num_k * kPanel,
                           std::min(end - panel * kPanel, count * kPanel), y + panel * kPanel, ldy, add);
        }
    }
}

}  // namespace

void linear(const PackedMatrix& w, const float* x, std::size_t ldx, std::size_t num_rows, float* y, std::size_t ldy,
            bool accumulate, ThreadPool& pool) {
    const Kernels& kernel = kernels();
    Buffer<float> strips(std::min(num_rows, kChunkRows) * w.num_in);
    const std::size_t num_blocks = (w.num_in + kChunkK - 1) / kChunkK;
    for (std::size_t row = 0; row < num_rows; row += kChunkRows) {
        const std::size_t rows = std::min(kChunkRows, num_rows - row);
        pool.parallel_for(num_blocks, 1, [&](std::size_t begin, std::size_t end) {
            for (std::size_t block = begin; block < end; ++block) {
                const std::size_t k = block * kChunkK;
                kernel.pack_rows(x + row * ldx + k, ldx, rows, std::min(kChunkK, w.num_in - k), strips.data() + k * rows);
            }
        });
        pool.parallel_for(w.num_panels(), kTaskPanels, [&](std::size_t begin, std::size_t end) {
            Buffer<float> unpacked(w.dtype == DType::float32 ? 0 : kUnpackedPanels * kChunkK * kPanel);
            const std::size_t step = rows <= kFewRows ? kUnpackedPanels : kTaskPanels;
            for (std::size_t panel = begin; panel < end; panel += step)
                columns(w, strips.data(), rows, panel, std::min(end, panel + step), y + row * ldy, ldy, accumulate,
                        unpacked.data());
        });
    }
}

void pack_panels(const float* w, std::size_t ldw, std::size_t num_out, std::size_t num_in, float* panels) noexcept {
    for (std::size_t first = 0; first < num_out; first += kPanel, panels += num_in * kPanel) {
        const std::size_t count = std::min(kPanel, num_out - first);
        if (count < kPanel) std::memset(panels, 0, num_in * kPanel * sizeof(float));
        for (std::size_t j = 0; j < count; ++j)
            for (std::size_t k = 0; k < num_in; ++k) panels[k * kPanel + j] = w[(first + j) * ldw + k];
    }
}

}  // namespace harken

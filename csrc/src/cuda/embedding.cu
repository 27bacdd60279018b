#include "cuda/embedding.h"

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/numbers.h"

namespace harken::cuda {
namespace {

constexpr unsigned kThreads = 128;

/// A block a row.
template <typename T>
__global__ void look_up_kernel(const T* table, const float* scales, const std::int32_t* sources, const float* audio,
                               std::size_t width, float* x) {
    const std::int32_t source = sources[blockIdx.x];
    x += blockIdx.x * width;
    if (source < 0) {
        const float* row = audio + static_cast<std::size_t>(-1 - source) * width;
        for (std::size_t i = threadIdx.x; i < width; i += kThreads) x[i] = row[i];
        return;
    }
    const T* row = table + static_cast<std::size_t>(source) * width;
    const float scale = scales == nullptr ? 1.0f : scales[source];
    for (std::size_t i = threadIdx.x; i < width; i += kThreads) x[i] = scale * ToFloat()(row[i]);
}

}  // namespace

DeviceTable::DeviceTable(const Table& table, Stream& stream)
    : dtype_(table.dtype), width_(table.width), rows_(table.num_rows * table.width * dtype_bytes(table.dtype)) {
    stream.copy_to_device(rows_.as<void>(), table.rows, table.num_rows * width_ * dtype_bytes(dtype_));
    if (table.scales != nullptr) scales_ = numbers_on_device(table.scales, table.num_rows, stream);
}

void DeviceTable::look_up(const std::int32_t* sources, std::size_t num_rows, const float* audio, float* x, Stream& stream) const {
    const auto run = [&]<typename T>(T) {
        launch("embeddings", &look_up_kernel<T>, static_cast<unsigned>(num_rows), kThreads, stream, rows_.as<T>(),
               scales_.as<float>(), sources, audio, width_, x);
    };
    if (dtype_ == DType::int8)
        run(std::int8_t{});
    else
        with_operand(dtype_, run);
}

}  // namespace harken::cuda

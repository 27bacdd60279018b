#include "cuda/device_matrix.h"

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/numbers.h"
#include "kernels.h"

namespace harken::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kPanelRows = static_cast<int>(kPanel);

/// out[16 p + i, k] = panels[p, k, i] * scales[k / 64, 16 p + i]
template <typename From, typename To>
__global__ void unpack_kernel(const From* panels, const float* scales, std::size_t num_out, std::size_t num_in,
                              std::size_t num_elements, To* out) {
    const std::size_t scales_a_span = (num_out + kPanelRows - 1) / kPanelRows * kPanelRows;
    const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
    for (std::size_t at = static_cast<std::size_t>(blockIdx.x) * blockDim.x + threadIdx.x; at < num_elements; at += step) {
        const std::size_t row = at / (num_in * kPanelRows) * kPanelRows + at % kPanelRows, k = at / kPanelRows % num_in;
        if (row >= num_out) continue;
        const float value = ToFloat()(panels[at]);
        store(out + row * num_in + k, scales == nullptr ? value : value * scales[k / kScaleSpan * scales_a_span + row]);
    }
}

template <typename From, typename To>
void unpack(const PackedMatrix& packed, DeviceMatrix& matrix, const void* panels, const float* scales, Stream& stream) {
    const std::size_t num_elements = packed.num_panels() * packed.num_in * kPanel;
    launch("unpacking of weights", &unpack_kernel<From, To>, std::min(num_blocks(num_elements, kThreads), 1u << 16), kThreads,
           stream, static_cast<const From*>(panels), scales, packed.num_out, packed.num_in, num_elements,
           matrix.weights.as<To>());
}

}  // namespace

DeviceMatrix::DeviceMatrix(const PackedMatrix& packed, DeviceBuffer& staging, Stream& stream)
    : dtype(packed.dtype == DType::int8 ? DType::bfloat16 : packed.dtype),
      weights(packed.num_out * packed.num_in * dtype_bytes(dtype)), has_bias(packed.bias != nullptr), num_out(packed.num_out),
      num_in(packed.num_in) {
    const std::size_t num_elements = packed.num_panels() * num_in * kPanel;
    const void* panels = room<char>(staging, num_elements * dtype_bytes(packed.dtype));
    stream.copy_to_device(staging.as<void>(), packed.panels, num_elements * dtype_bytes(packed.dtype));
    if (packed.dtype == DType::int8) {
        const DeviceBuffer scales = numbers_on_device(packed.scales, packed.num_scales(), stream);
        unpack<std::int8_t, __nv_bfloat16>(packed, *this, panels, scales.as<float>(), stream);
        stream.wait();
    } else {
        with_operand(dtype, [&]<typename T>(T) { unpack<T, T>(packed, *this, panels, nullptr, stream); });
    }
    if (has_bias) bias = numbers_on_device(packed.bias, num_out, stream);
}

}  // namespace harken::cuda

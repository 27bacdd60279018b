/// \file
/// The weights of a linear layer on a device: W [num_out, num_in] row-major, as products there read it.
#pragma once

#include <cstddef>

#include "cuda/device.h"
#include "cuda/stream.h"
#include "linear.h"

namespace harken::cuda {

struct DeviceMatrix {
    DType dtype = DType::float32;  ///< float32, float16 or bfloat16: of the weights and of what they are multiplied with
    DeviceBuffer weights;
    DeviceBuffer bias;  ///< [num_out] float32, where has_bias
    bool has_bias = false;
    std::size_t num_out = 0, num_in = 0;

    DeviceMatrix() = default;
    /// Copy packed weights to the current device. int8 becomes bfloat16: no 8-bit product runs there.
    /// \param staging  where the panels lie until they are unpacked; may be shared by matrices of one stream
    DeviceMatrix(const PackedMatrix& packed, DeviceBuffer& staging, Stream& stream);
};

/// The same numbers on the device.
inline DeviceBuffer numbers_on_device(const float* numbers, std::size_t n, Stream& stream) {
    DeviceBuffer buffer(n * sizeof(float));
    stream.copy_to_device(buffer.as<void>(), numbers, n * sizeof(float));
    return buffer;
}

}  // namespace harken::cuda

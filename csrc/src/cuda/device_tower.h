/// \file
/// tower.h on a device, and the projection to the decoder's width, whether it stands in the tower or after it.
#pragma once

#include <span>
#include <vector>

#include "cuda/device_matrix.h"
#include "cuda/products.h"
#include "tower.h"

namespace harken::cuda {

/// Thread safety: one call at a time.
class DeviceTower {
  public:
    /// Copies the weights to the current device.
    /// \param projection  to the decoder's width
    /// \throws Error  HARKEN_MODEL_ERROR: heads wider than kMaxHeadWidth; HARKEN_OUT_OF_MEMORY
    DeviceTower(const Tower& tower, const PackedMatrix& projection, DeviceBuffer& staging, Stream& stream);

    /// Audio tokens of clips end to end, [sum of num_tokens, decoder's width] on the device, valid until the next call.
    /// \param tower  the one this was made of; it computes the features
    const float* encode(const Tower& tower, const std::vector<std::span<const float>>& clips, ThreadPool& pool,
                        Products& products, Stream& stream);

  private:
    struct Norm {
        DeviceBuffer weight, bias;
    };
    struct Layer {
        Norm norm1, norm2;
        DeviceMatrix qkv, out, fc1, fc2;
    };

    static Norm copy(const LayerNorm& norm, Stream& stream);
    void norm(const Norm& norm, const float* x, std::size_t num_rows, DType dtype, void* y, Stream& stream) const;
    void run_layers(float* x, const Segments& segments, Products& products, Stream& stream);

    TowerConfig config_;
    DeviceMatrix conv1_, conv2_, projection_;
    DeviceBuffer positions_;
    std::vector<Layer> layers_;
    Norm norm_;
    DeviceBuffer features_, indices_, tasks_, taps_, after_conv1_, x_, qkv_, hidden_, operand_, tokens_, projected_;
};

}  // namespace harken::cuda

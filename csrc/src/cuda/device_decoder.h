/// \file
/// decoder.h on a device.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/device_matrix.h"
#include "cuda/embedding.h"
#include "cuda/products.h"
#include "decoder.h"
#include "packed.h"

namespace harken::cuda {

/// Thread safety: one call at a time.
class DeviceDecoder {
  public:
    /// Copies the weights to the current device.
    /// \throws Error  HARKEN_MODEL_ERROR: heads wider than kMaxHeadWidth; HARKEN_OUT_OF_MEMORY
    DeviceDecoder(const Decoder& decoder, DeviceBuffer& staging, Stream& stream);

    /// Hidden states [num_rows, width], or [segments.size(), width] with `last_only`, before the final norm: on the device,
    /// valid until the next call.
    /// \param sources  of each row, as DeviceTable::look_up takes them
    /// \param audio    [audio rows, width] on the device
    float* run(const std::vector<std::int32_t>& sources, const float* audio, const Segments& segments, bool causal,
               bool last_only, Products& products, Stream& stream);

    [[nodiscard]] std::size_t width() const noexcept { return config_.width; }
    /// y [num_rows, width] float32 = the final norm of x
    void norm(const float* x, std::size_t num_rows, float* y, Stream& stream) const;

  private:
    struct Layer {
        DeviceBuffer norm1, norm2;
        DeviceMatrix qkv, o, gate_up, down;
    };

    void make_rotary(std::size_t num_positions, Stream& stream);
    void finish(const Layer& layer, std::size_t num_rows, float* x, Products& products, Stream& stream);

    DecoderConfig config_;
    DeviceTable embeddings_;
    std::vector<Layer> layers_;
    DeviceBuffer norm_;
    std::size_t num_positions_ = 0;  // of the rotary tables
    DeviceBuffer cosines_, sines_;
    DeviceBuffer sources_, positions_, tasks_, last_tasks_, last_rows_;
    DeviceBuffer x_, last_x_, normed_, qkv_, attended_, gate_up_, hidden_;
};

}  // namespace harken::cuda

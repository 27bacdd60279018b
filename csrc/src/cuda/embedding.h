/// \file
/// The decoder's first rows on a device: tokens' embeddings, and the sound's rows in their places.
#pragma once

#include "bundle.h"
#include "cuda/device_matrix.h"

namespace harken::cuda {

/// A table of embeddings in the bundle's dtype.
class DeviceTable {
  public:
    DeviceTable(const Table& table, Stream& stream);

    /// x [num_rows, width] = the row of token sources[i], or where that is negative audio[-1 - sources[i]]
    /// \param audio  [audio rows, width]; nullptr where no source is negative
    void look_up(const std::int32_t* sources, std::size_t num_rows, const float* audio, float* x, Stream& stream) const;

  private:
    DType dtype_;
    std::size_t width_;
    DeviceBuffer rows_, scales_;
};

}  // namespace harken::cuda

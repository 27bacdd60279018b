/// \file
/// pooling.h on a device.
#pragma once

#include <optional>
#include <vector>

#include "cuda/device_decoder.h"
#include "cuda/device_matrix.h"
#include "cuda/products.h"
#include "pooling.h"

namespace harken::cuda {

/// The projection of one side on a device.
struct DeviceSide {
    DeviceMatrix weights;
    DeviceBuffer norm_weight, norm_bias;
    bool has_norm;
    float eps = 0;

    DeviceSide(const PoolHead& head, DeviceBuffer& staging, Stream& stream);
};

/// Thread safety: one call at a time.
class DevicePooling {
  public:
    /// Vectors [ranges.size(), head's or decoder's width] of hidden [num_rows, width], written to the host. The work is done when
    /// this returns.
    /// \param head  nullptr: the pooled state is the vector
    void run(const DeviceDecoder& decoder, const float* hidden, std::size_t num_rows, const std::vector<RowRange>& ranges,
             const DeviceSide* head, const Recipe& recipe, float* vectors, Products& products, Stream& stream);

  private:
    DeviceBuffer first_, end_, normed_, pooled_, operand_, projected_, vectors_;
};

}  // namespace harken::cuda

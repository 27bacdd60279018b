/// \file
/// The product of harken's own, for where there is no cuBLASLt and for tests.
#pragma once

#include "cuda/device_matrix.h"

namespace harken::cuda {

/// As Products::run. A number of y does not depend on what other rows there are.
void tile_product(const DeviceMatrix& w, const void* x, std::size_t num_rows, float* y, bool accumulate, Stream& stream);

}  // namespace harken::cuda

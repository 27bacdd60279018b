/// \file
/// y = x W^T + b on a device, by cuBLASLt where it is found, else by a kernel of harken's own.
#pragma once

#include <cstddef>
#include <optional>

#include "cuda/cublaslt.h"
#include "cuda/device_matrix.h"

namespace harken::cuda {

/// Thread safety: one call at a time.
class Products {
  public:
    /// \param stream  outlives this
    explicit Products(Stream& stream);

    /// What computes them.
    [[nodiscard]] bool by_cublaslt() const noexcept { return lt_.has_value(); }

    /// y [num_rows, num_out] float32 = x W^T + b, summed in float32; rows are contiguous.
    /// \param x           [num_rows, num_in] of the dtype of w
    /// \param accumulate  add to what y holds
    void run(const DeviceMatrix& w, const void* x, std::size_t num_rows, float* y, bool accumulate = false);

  private:
    Stream& stream_;
    std::optional<LtProducts> lt_;
};

}  // namespace harken::cuda

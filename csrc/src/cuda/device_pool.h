/// \file
/// pooling.h on a CUDA device, for hidden states that lie there.
///
/// The kernels are those of kernels/pool_triton.py, compiled ahead of time (cubins.h). Sums are float32, in one order a range.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "cuda/device.h"
#include "cuda/driver.h"
#include "layers.h"
#include "pooling.h"
#include "tensor_view.h"

namespace harken::cuda {

/// y [num_rows, head dim] of x [num_rows, width], both float32 on the device and contiguous: what the caller has for products.
using Projection = std::function<void(const float* x, std::size_t num_rows, float* y, void* stream)>;

/// The projection of one side, and the layer norm after it.
struct DeviceHead {
    std::size_t dim = 0;
    Projection project;
    const float* norm_weight = nullptr;  ///< [dim] on the device, as norm_bias; nullptr: no layer norm
    const float* norm_bias = nullptr;
    float eps = 1e-5f;
    bool normalize_input = false;  ///< divide the pooled state by its length first
};

/// Thread safety: any number of calls at once; they take turns. All on one stream, or each after the work of those before.
class DevicePool {
  public:
    /// Whether the library carries the kernels for a device, for hidden states of this width and dtype.
    [[nodiscard]] static bool available(std::size_t width, DType dtype, int device) noexcept;

    /// \param norm    applied to every row; its weight, on the host, is rounded to the dtype
    /// \param dtype   of the hidden states: float32, float16 or bfloat16
    /// \throws Error  HARKEN_BACKEND_ERROR: no such device, or no kernels for it, this width or this dtype
    DevicePool(const RmsNorm& norm, DType dtype, int device);

    /// \param hidden      [num_rows, width] on the device, contiguous
    /// \param ranges      the rows that each vector is the mean of: none empty, rising, not overlapping, within num_rows
    /// \param head        nullptr: the pooled state is the vector
    /// \param normalize   scale vectors to unit length
    /// \param vectors     [ranges.size(), head dim or width] float32 on the device, made larger where it is too small
    /// \param stream      what it is done on, after what that was given before; this returns before it is done
    /// \throws Error      HARKEN_INVALID_ARGUMENT: ranges that are none, or a head too wide for the kernels
    void run(const DeviceBuffer& hidden, std::size_t num_rows, const std::vector<RowRange>& ranges, const DeviceHead* head,
             bool normalize, DeviceBuffer& vectors, void* stream = nullptr);

  private:
    /// The head's layer norm; without a head, unit length. x and out may be one.
    void tail(const float* x, std::size_t num_rows, std::size_t width, const DeviceHead* head, float* out, void* stream);

    std::size_t width_;
    float eps_;
    DType dtype_;
    int device_;
    LoadedKernel rows_, finish_;
    DeviceBuffer weight_, bounds_, partial_, pooled_, projected_;
    std::mutex turn_;
};

}  // namespace harken::cuda

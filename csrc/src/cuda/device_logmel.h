/// \file
/// logmel.h on a CUDA device, for clips that lie there end to end.
///
/// The kernels are those of kernels/logmel_triton.py, compiled ahead of time (cubins.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "cuda/device.h"
#include "cuda/driver.h"
#include "logmel.h"

namespace harken::cuda {

/// Thread safety: any number of calls at once; they take turns. All on one stream, or each after the work of those before.
class DeviceLogMel {
  public:
    /// Whether the library carries a front end's kernels for a device.
    [[nodiscard]] static bool available(const MelSpec& spec, int device) noexcept;

    /// \throws Error  HARKEN_BACKEND_ERROR: no such device, or no kernels for it; HARKEN_INVALID_ARGUMENT: a field that cannot be
    DeviceLogMel(const MelSpec& spec, int device);

    [[nodiscard]] const LogMel& host() const noexcept { return host_; }

    /// \param samples  float32 on the device, at the front end's rate, finite
    /// \param starts   [num_clips + 1] the first sample of each clip and the end, rising from 0 or more
    /// \param out      [the sum of host().num_rows, num_mels] float32 on the device, made larger where it is too small
    /// \param stream   what it is done on, after what that was given before; this returns before it is done
    /// \returns        the first row of each clip and the end
    /// \throws Error   HARKEN_AUDIO_ERROR: a clip without a sample; HARKEN_INVALID_ARGUMENT: extra frames where clips are
    ///                 mirrored, a cap of half a window or less, a clip of 2^31 - 2^16 samples or more
    std::vector<std::size_t> compute(const DeviceBuffer& samples, std::span<const std::int64_t> starts, DeviceBuffer& out,
                                     std::size_t extra_frames = 0, std::size_t max_samples = LogMel::no_cap,
                                     void* stream = nullptr);

  private:
    LogMel host_;
    int device_;
    LoadedKernel rows_, raise_;
    DeviceBuffer basis_, filters_, clips_, peaks_;
    std::mutex turn_;
};

}  // namespace harken::cuda

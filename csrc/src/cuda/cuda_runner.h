/// \file
/// A bundle's network on a CUDA device.
#pragma once

#include <memory>

#include "bundle.h"
#include "runner.h"

namespace harken::cuda {

/// Copies the weights to a device. Calls of the runner take turns.
/// \param bundle  outlives the runner
/// \throws Error  HARKEN_BACKEND_ERROR: no such device; HARKEN_OUT_OF_MEMORY; HARKEN_MODEL_ERROR: heads that are too wide
[[nodiscard]] std::unique_ptr<const Runner> make_cuda_runner(const Bundle& bundle, int device);

}  // namespace harken::cuda

/// \file
/// A model's network goes to a CUDA device, where the library was built with CUDA.
#pragma once

#include "model.h"

namespace harken {

/// Not while others use the model, which stays as it was where this throws.
/// \throws Error  HARKEN_BACKEND_ERROR: no such device, or built without CUDA; HARKEN_OUT_OF_MEMORY; HARKEN_MODEL_ERROR: a
///                model that the device's code cannot run
void model_to_cuda(Model& model, int device);

}  // namespace harken

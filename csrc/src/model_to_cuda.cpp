#include "model_to_cuda.h"

#include <string>

#include "error.h"
#if defined(HARKEN_WITH_CUDA)
#include "cuda/cuda_runner.h"
#endif

namespace harken {

void model_to_cuda([[maybe_unused]] Model& model, int device) {
#if defined(HARKEN_WITH_CUDA)
    model.use(cuda::make_cuda_runner(model.bundle(), device));
#else
    throw Error(HARKEN_BACKEND_ERROR,
                "CUDA device " + std::to_string(device) + " was asked for; this library was built without CUDA");
#endif
}

}  // namespace harken

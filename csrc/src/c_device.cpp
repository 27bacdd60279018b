#include "harken/harken.h"

#if defined(HARKEN_WITH_CUDA)
#include "cuda/device.h"
#endif

extern "C" int32_t harken_num_cuda_devices(void) {
#if defined(HARKEN_WITH_CUDA)
    return harken::cuda::num_devices();
#else
    return 0;
#endif
}

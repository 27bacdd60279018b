#if defined(__x86_64__)
#define HARKEN_NAME "avx2"
#define HARKEN_LANES 8
#define HARKEN_QUERIES 3
#include "topk_kernels_impl.h"

namespace harken {
const TopkKernels kTopkAvx2 = kTable;
}  // namespace harken
#endif

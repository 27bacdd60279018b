#if defined(__x86_64__)
#define HARKEN_NAME "avx512"
#define HARKEN_LANES 16
#define HARKEN_QUERIES 4
#include "topk_kernels_impl.h"

namespace harken {
const TopkKernels kTopkAvx512 = kTable;
}  // namespace harken
#endif

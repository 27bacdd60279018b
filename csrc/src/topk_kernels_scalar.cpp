#define HARKEN_NAME "scalar"
#define HARKEN_LANES 4
#define HARKEN_QUERIES 2
#include "topk_kernels_impl.h"

namespace harken {
const TopkKernels kTopkScalar = kTable;
}  // namespace harken

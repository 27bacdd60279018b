#if defined(__x86_64__)
#define HARKEN_LANES 8
#define HARKEN_TILE_ROWS 6
#define HARKEN_TILE_PANELS 1
#include "kernels_impl.h"

namespace harken {
const Kernels kAvx2Kernels = kTable;
}  // namespace harken
#endif

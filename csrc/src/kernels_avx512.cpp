#if defined(__x86_64__)
#define HARKEN_LANES 16
#define HARKEN_TILE_ROWS 12
#define HARKEN_TILE_PANELS 2
#include "kernels_impl.h"

namespace harken {
const Kernels kAvx512Kernels = kTable;
}  // namespace harken
#endif

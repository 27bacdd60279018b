#define HARKEN_LANES 4
#define HARKEN_TILE_ROWS 3
#define HARKEN_TILE_PANELS 1
#include "kernels_impl.h"

namespace harken {
const Kernels kScalarKernels = kTable;
}  // namespace harken

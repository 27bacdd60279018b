#define HARKEN_NAME "scalar"
#define HARKEN_LANES 4
#include "logmel_kernels_impl.h"

namespace harken {
const LogMelKernels kLogMelScalar = kTable;
}  // namespace harken

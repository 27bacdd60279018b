#if defined(__x86_64__)
#define HARKEN_NAME "avx2"
#define HARKEN_LANES 8
#include "logmel_kernels_impl.h"

namespace harken {
const LogMelKernels kLogMelAvx2 = kTable;
}  // namespace harken
#endif

#if defined(__x86_64__)
#define HARKEN_NAME "avx512"
#define HARKEN_LANES 16
#include "logmel_kernels_impl.h"

namespace harken {
const LogMelKernels kLogMelAvx512 = kTable;
}  // namespace harken
#endif

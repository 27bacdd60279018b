#include "kernels.h"

#include "isa.h"

namespace harken {

const Kernels& kernels() noexcept {
#if defined(__x86_64__)
    if (cpu_isa() == Isa::avx512) return kAvx512Kernels;
    if (cpu_isa() == Isa::avx2) return kAvx2Kernels;
#endif
    return kScalarKernels;
}

}  // namespace harken

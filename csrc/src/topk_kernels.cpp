#include "topk_kernels.h"

#include "isa.h"

namespace harken {

std::vector<const TopkKernels*> all_topk_kernels() {
    std::vector<const TopkKernels*> tables{&kTopkScalar};
#if defined(__x86_64__)
    if (cpu_isa() >= Isa::avx2) tables.push_back(&kTopkAvx2);
    if (cpu_isa() >= Isa::avx512) tables.push_back(&kTopkAvx512);
#endif
    return tables;
}

const TopkKernels& topk_kernels() noexcept {
    static const TopkKernels& best = *all_topk_kernels().back();
    return best;
}

}  // namespace harken

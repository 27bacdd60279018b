#include "cuda/cubins.h"

#include <algorithm>
#include <string>

#include "error.h"

namespace harken::cuda {
namespace {

#if defined(HARKEN_WITH_CUBINS)
#include "cubins.inc"
#endif

}  // namespace

int CubinKernel::constant(std::string_view wanted) const {
    for (const Constant& c : constants)
        if (c.name == wanted) return c.value;
    throw Error(HARKEN_INTERNAL_ERROR, "kernel " + std::string(name) + " has no constant " + std::string(wanted));
}

const Cubin* CubinKernel::cubin(int capability) const noexcept {
    const Cubin* best = nullptr;
    for (const Cubin& c : cubins) {
        const bool runs = c.exact ? c.arch == capability : c.arch / 10 == capability / 10 && c.arch <= capability;
        if (runs && (best == nullptr || c.arch > best->arch)) best = &c;
    }
    return best;
}

std::span<const CubinKernel> cubin_kernels() noexcept {
#if defined(HARKEN_WITH_CUBINS)
    return kKernels;
#else
    return {};
#endif
}

const CubinKernel* find_cubin_kernel(std::string_view name, std::initializer_list<Constant> constants,
                                     Constant at_least) noexcept {
    const auto value = [](const CubinKernel& kernel, std::string_view wanted) {
        for (const Constant& c : kernel.constants)
            if (c.name == wanted) return c.value;
        return -1;
    };
    const CubinKernel* best = nullptr;
    for (const CubinKernel& kernel : cubin_kernels()) {
        if (kernel.name != name) continue;
        if (!std::all_of(constants.begin(), constants.end(), [&](const Constant& c) { return value(kernel, c.name) == c.value; }))
            continue;
        if (at_least.name.empty()) return &kernel;
        const int size = value(kernel, at_least.name);
        if (size >= at_least.value && (best == nullptr || size < value(*best, at_least.name))) best = &kernel;
    }
    return best;
}

}  // namespace harken::cuda

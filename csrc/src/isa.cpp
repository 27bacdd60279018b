#include "isa.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace harken {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};

#if defined(__x86_64__)
// __builtin_cpu_supports of clang 14 does not know it.
bool has_f16c() noexcept {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

Isa best_of_cpu() noexcept {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 ? Isa::avx512 : avx2 ? Isa::avx2 : Isa::scalar;
#else
    return Isa::scalar;
#endif
}

Isa decide() noexcept {
    const Isa best = best_of_cpu();
    const char* wanted = std::getenv("HARKEN_CPU_ISA");
    if (wanted == nullptr) return best;
    for (int i = 0; i < 3; ++i)
        if (std::strcmp(wanted, kNames[i]) == 0) return std::min(best, static_cast<Isa>(i));
    return best;
}

}  // namespace

Isa cpu_isa() noexcept {
    static const Isa isa = decide();
    return isa;
}

const char* isa_name(Isa isa) noexcept { return kNames[static_cast<int>(isa)]; }

}  // namespace harken

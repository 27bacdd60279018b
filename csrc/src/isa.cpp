#include "isa.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace harken {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};

Isa best_of_cpu() noexcept {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
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

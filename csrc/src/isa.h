/// \file
/// Which instruction set the kernels of this process use.
#pragma once

namespace harken {

enum class Isa { scalar = 0, avx2 = 1, avx512 = 2 };

/// The best set that both this CPU and HARKEN_CPU_ISA ("scalar", "avx2", "avx512") allow. Decided once.
Isa cpu_isa() noexcept;

const char* isa_name(Isa isa) noexcept;

}  // namespace harken

/// \file
/// harken's own Triton kernels as the library carries them: machine code for some architectures, and how it is called.
///
/// Written by tools/embed_kernels.py while the library is built; empty where it was built without Triton. Compiled for sm_80,
/// sm_90 and sm_100; what launches them was tested with Triton's interpreter in a device's place, not yet on a device.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

namespace harken::cuda {

/// A constexpr of a kernel: what it was compiled for.
struct Constant {
    std::string_view name;
    int value;
};

/// A kernel's code for one architecture.
struct Cubin {
    int arch;                    ///< 90: compute capability 9.0
    bool exact;                  ///< runs on that one alone, not on later ones of its generation
    const char* image;  ///< an ELF file, or a fat binary that holds one
    std::size_t num_bytes;
    int num_threads;   ///< of a block
    int shared_bytes;  ///< dynamic shared memory of a block
    int num_scratch;   ///< pointers that Triton appends to the arguments; null will do
};

struct CubinKernel {
    std::string_view name;   ///< "pool rows bf16"
    const char* entry;       ///< the function in the code
    /// A letter an argument: p pointer, i int32, l int64, f float32; a capital one where the code takes it for a multiple of 16.
    std::string_view types;
    std::span<const Constant> constants;
    std::span<const Cubin> cubins;

    /// \throws Error  HARKEN_INTERNAL_ERROR: there is none of that name
    [[nodiscard]] int constant(std::string_view wanted) const;
    /// The best code for a compute capability (90 for 9.0), or nullptr.
    [[nodiscard]] const Cubin* cubin(int capability) const noexcept;
};

[[nodiscard]] std::span<const CubinKernel> cubin_kernels() noexcept;

/// A kernel of a name that was compiled for these constants; nullptr if there is none.
/// \param at_least  of several, the one whose constant of this name is smallest and no less than the value
[[nodiscard]] const CubinKernel* find_cubin_kernel(std::string_view name, std::initializer_list<Constant> constants,
                                                   Constant at_least = {}) noexcept;

}  // namespace harken::cuda

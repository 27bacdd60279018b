/// \file
/// The CUDA driver, found at run time, and kernels launched through it. No header of CUDA is needed to compile this.
///
/// Work is on the device's primary context, which is the runtime's too. A stream is a cudaStream_t or CUstream; nullptr is the
/// default one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "cuda/cubins.h"
#include "cuda/device.h"

namespace harken::cuda {

/// Compute capability of a device, 90 for 9.0.
/// \throws Error  HARKEN_BACKEND_ERROR: no driver, or no such device
[[nodiscard]] int compute_capability(int device);

/// The same, 0 where there is no driver or no such device.
[[nodiscard]] int compute_capability_or_zero(int device) noexcept;

/// Whether there is such a kernel, with code for a device. With HARKEN_CUBINS=off in the environment there is none: what nvcc
/// compiled is used in its place.
[[nodiscard]] bool has_code(const CubinKernel* kernel, int device) noexcept;

/// Copy to a device after what its stream was given before; `from` may change as soon as this returns.
/// \throws Error  HARKEN_BACKEND_ERROR: no such device, or the driver refuses
void copy_to_device(int device, const DeviceBuffer& to, const void* from, std::size_t num_bytes, void* stream);

/// One argument of a kernel.
class Argument {
  public:
    Argument(const void* pointer) noexcept : type_('p') { value_.pointer = pointer; }
    Argument(const DeviceBuffer& buffer) noexcept : Argument(static_cast<const void*>(buffer.as<char>())) {}
    Argument(std::int32_t number) noexcept : type_('i') { value_.int32 = number; }
    Argument(std::int64_t number) noexcept : type_('l') { value_.int64 = number; }
    Argument(float number) noexcept : type_('f') { value_.float32 = number; }

    [[nodiscard]] char type() const noexcept { return type_; }
    /// Of a pointer and of a whole number.
    [[nodiscard]] bool is_multiple_of_16() const noexcept;
    [[nodiscard]] const void* address() const noexcept { return &value_; }

  private:
    char type_;
    union {
        const void* pointer;
        std::int32_t int32;
        std::int64_t int64;
        float float32;
    } value_;
};

/// A kernel on a device. Modules are loaded once a device and stay until the process ends.
///
/// Thread safety: any number of calls at once.
class LoadedKernel {
  public:
    LoadedKernel() = default;
    /// \throws Error  HARKEN_BACKEND_ERROR: no driver, no such device, no code for it, or the driver refuses it
    LoadedKernel(const CubinKernel& kernel, int device);

    /// Launch on num_blocks x num_blocks_y blocks; returns before they are done.
    /// \throws Error  HARKEN_BACKEND_ERROR: the driver refuses; HARKEN_INVALID_ARGUMENT: an argument that is no multiple of 16
    ///                where the code takes it for one; HARKEN_INTERNAL_ERROR: other arguments than the kernel's
    void launch(std::size_t num_blocks, std::initializer_list<Argument> arguments, void* stream,
                std::size_t num_blocks_y = 1) const;

    [[nodiscard]] int constant(std::string_view name) const { return kernel_->constant(name); }

  private:
    const CubinKernel* kernel_ = nullptr;
    const Cubin* cubin_ = nullptr;
    void* context_ = nullptr;
    void* function_ = nullptr;
};

}  // namespace harken::cuda

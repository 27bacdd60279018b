/// \file
/// An array that lies in someone else's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace harken {

enum class DType : std::uint8_t {
    float32,
    float16,
    bfloat16,
    float64,
    int8,
    uint8,
    boolean,
    int16,
    uint16,
    int32,
    uint32,
    int64,
    uint64,
};

[[nodiscard]] std::size_t dtype_bytes(DType dtype) noexcept;
/// As Python's numpy and torch call it.
[[nodiscard]] const char* dtype_name(DType dtype) noexcept;

/// Bytes of an array of that shape; false where a size is negative or the product overflows.
[[nodiscard]] bool shape_bytes(const std::vector<std::int64_t>& shape, DType dtype, std::size_t& num_bytes) noexcept;

/// Row-major and contiguous; valid as long as the file it came from.
struct TensorView {
    DType dtype = DType::float32;
    std::vector<std::int64_t> shape;  ///< each 0 or more; empty for a scalar
    const std::byte* data = nullptr;  ///< not aligned beyond what the file gives
    std::size_t num_bytes = 0;

    [[nodiscard]] std::size_t num_elements() const noexcept { return num_bytes / dtype_bytes(dtype); }
    template <typename T>
    [[nodiscard]] const T* as() const noexcept {
        return reinterpret_cast<const T*>(data);
    }
};

}  // namespace harken

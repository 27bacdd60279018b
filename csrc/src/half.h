/// \file
/// float16 and bfloat16 as their 16 bits, rounded to nearest even.
#pragma once

#include <cstddef>
#include <cstdint>

namespace harken {

[[nodiscard]] float half_to_float(std::uint16_t half) noexcept;
/// What lies past 65504 becomes infinity; NaN stays NaN.
[[nodiscard]] std::uint16_t float_to_half(float value) noexcept;
[[nodiscard]] float bfloat16_to_float(std::uint16_t bits) noexcept;
[[nodiscard]] std::uint16_t float_to_bfloat16(float value) noexcept;

/// n values; the arrays do not overlap.
void half_to_float(const std::uint16_t* halves, std::size_t n, float* out) noexcept;
void bfloat16_to_float(const std::uint16_t* bits, std::size_t n, float* out) noexcept;

}  // namespace harken

/// \file
/// float16 as CUDA calls it, by harken's own conversions.
#pragma once

#include "cuda_runtime.h"
#include "half.h"

struct __half {
    std::uint16_t bits;
};

inline float __half2float(__half x) { return harken::half_to_float(x.bits); }
inline __half __float2half_rn(float x) { return {harken::float_to_half(x)}; }

/// \file
/// bfloat16 as CUDA calls it, by harken's own conversions.
#pragma once

#include "cuda_runtime.h"
#include "half.h"

struct __nv_bfloat16 {
    std::uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) { return harken::bfloat16_to_float(x.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return {harken::float_to_bfloat16(x)}; }

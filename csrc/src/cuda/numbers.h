/// \file
/// Numbers of every dtype in device code: kernels compute in float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <string>

#include "error.h"
#include "tensor_view.h"

namespace harken::cuda {

struct ToFloat {
    __host__ __device__ float operator()(float x) const { return x; }
    __host__ __device__ float operator()(__half x) const { return __half2float(x); }
    __host__ __device__ float operator()(__nv_bfloat16 x) const { return __bfloat162float(x); }
    __host__ __device__ float operator()(std::int8_t x) const { return static_cast<float>(x); }
};

/// Rounded to nearest even.
inline __device__ void store(float* at, float x) { *at = x; }
inline __device__ void store(__half* at, float x) { *at = __float2half_rn(x); }
inline __device__ void store(__nv_bfloat16* at, float x) { *at = __float2bfloat16_rn(x); }

/// Call body(T{}) for the type of a product's operands.
template <typename Body>
void with_operand(DType dtype, Body&& body) {
    switch (dtype) {
        case DType::float32: return body(float{});
        case DType::float16: return body(__half{});
        case DType::bfloat16: return body(__nv_bfloat16{});
        default: throw Error(HARKEN_INTERNAL_ERROR, std::string("no product takes ") + dtype_name(dtype));
    }
}

}  // namespace harken::cuda

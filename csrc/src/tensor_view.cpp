#include "tensor_view.h"

namespace harken {
namespace {

struct Kind {
    std::size_t bytes;
    const char* name;
};
constexpr Kind kKinds[] = {{4, "float32"}, {2, "float16"}, {2, "bfloat16"}, {8, "float64"}, {1, "int8"},
                           {1, "uint8"},   {1, "bool"},    {2, "int16"},    {2, "uint16"},  {4, "int32"},
                           {4, "uint32"},  {8, "int64"},   {8, "uint64"}};

}  // namespace

std::size_t dtype_bytes(DType dtype) noexcept { return kKinds[static_cast<int>(dtype)].bytes; }
const char* dtype_name(DType dtype) noexcept { return kKinds[static_cast<int>(dtype)].name; }

bool shape_bytes(const std::vector<std::int64_t>& shape, DType dtype, std::size_t& num_bytes) noexcept {
    std::size_t total = dtype_bytes(dtype);
    bool fits = true, empty = false;
    for (const std::int64_t size : shape) {
        if (size < 0) return false;
        empty = empty || size == 0;
        fits = fits && !__builtin_mul_overflow(total, static_cast<std::size_t>(size), &total);
    }
    num_bytes = empty ? 0 : total;
    return empty || fits;
}

}  // namespace harken

// float16 and bfloat16: every value there and back, rounding to nearest even, overflow, subnormals, NaN.
#include "half.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

using namespace harken;

int main() {
    for (unsigned bits = 0; bits < 65536; ++bits) {
        const std::uint16_t h = static_cast<std::uint16_t>(bits);
        const float half = half_to_float(h), brain = bfloat16_to_float(h);
        CHECK(std::isnan(half) ? std::isnan(half_to_float(float_to_half(half))) : float_to_half(half) == h);
        CHECK(std::isnan(brain) ? std::isnan(bfloat16_to_float(float_to_bfloat16(brain)))
                                : float_to_bfloat16(brain) == h);
        // Between two neighbours: the nearer one, and the even one from the middle.
        if (!std::isfinite(half) || (bits & 0x7fff) >= 0x7bff) continue;
        const float next = half_to_float(static_cast<std::uint16_t>(bits + 1)), middle = (half + next) / 2;
        CHECK(float_to_half(middle) == (bits & 1 ? bits + 1 : bits));
        CHECK(float_to_half(std::nextafter(middle, half)) == bits &&
              float_to_half(std::nextafter(middle, next)) == bits + 1);
    }
    CHECK(half_to_float(0x3c00) == 1 && half_to_float(0x0001) == 0x1p-24f && half_to_float(0x7bff) == 65504);
    CHECK(float_to_half(65519.9f) == 0x7bff && float_to_half(65520.0f) == 0x7c00 && float_to_half(-1e30f) == 0xfc00);
    CHECK(float_to_half(0x1p-25f) == 0 && float_to_half(0x1.8p-25f) == 1);
    CHECK(float_to_bfloat16(1.00390625f) == 0x3f80 && float_to_bfloat16(1.01171875f) == 0x3f82);

    const std::vector<std::uint16_t> some{0x3c00, 0xc000, 0x0001};
    std::vector<float> out(3);
    half_to_float(some.data(), 3, out.data());
    CHECK(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
    bfloat16_to_float(some.data(), 2, out.data());
    CHECK(out[0] == bfloat16_to_float(0x3c00));
}

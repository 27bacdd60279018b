// Products equal float64's at sizes that fill no tile, for every kind of weights.
#include <cstring>
#include <string>

#include "buffer.h"
#include "check.h"
#include "half.h"
#include "kernels.h"
#include "linear.h"
#include "random.h"

using namespace harken;

namespace {

/// A matrix packed as a bundle holds it, and the numbers it stands for.
struct Weights {
    PackedMatrix matrix;
    std::vector<double> exact;  // [num_out, num_in]
    Buffer<float> panels;
    std::vector<std::uint16_t> halves;
    std::vector<std::int8_t> bytes;
    std::vector<float> scales, bias;
};

Weights make(DType dtype, std::size_t num_out, std::size_t num_in, bool bias, Random& random) {
    Weights w;
    const std::vector<float> numbers = random.numbers(num_out * num_in);
    const std::size_t size = (num_out + 15) / 16 * 16 * num_in;
    w.panels = Buffer<float>(size);
    pack_panels(numbers.data(), num_in, num_out, num_in, w.panels.data());
    w.matrix = {dtype, w.panels.data(), nullptr, nullptr, num_out, num_in};
    if (dtype == DType::float16 || dtype == DType::bfloat16) {
        for (std::size_t i = 0; i < size; ++i)
            w.halves.push_back(dtype == DType::float16 ? float_to_half(w.panels[i]) : float_to_bfloat16(w.panels[i]));
        w.matrix.panels = w.halves.data();
    }
    if (dtype == DType::int8) {
        for (std::size_t i = 0; i < size; ++i) w.bytes.push_back(static_cast<std::int8_t>(std::lround(w.panels[i] * 127)));
        for (std::size_t i = 0; i < w.matrix.num_scales(); ++i) w.scales.push_back(0.25f + 0.125f * static_cast<float>(i % 5));
        w.matrix.panels = w.bytes.data();
        w.matrix.scales = w.scales.data();
    }
    for (std::size_t n = 0; n < num_out; ++n)
        for (std::size_t k = 0; k < num_in; ++k) {
            const std::size_t at = (n / 16 * num_in + k) * 16 + n % 16;
            w.exact.push_back(dtype == DType::float32    ? w.panels[at]
                              : dtype == DType::float16  ? half_to_float(w.halves[at])
                              : dtype == DType::bfloat16 ? bfloat16_to_float(w.halves[at])
                                                         : w.bytes[at] * double{w.scales[k / 64 * ((num_out + 15) / 16 * 16) + n]});
        }
    if (bias) {
        w.bias = random.numbers(num_out);
        w.matrix.bias = w.bias.data();
    }
    return w;
}

void check(DType dtype, std::size_t num_rows, std::size_t num_out, std::size_t num_in, bool bias, bool accumulate,
           ThreadPool& pool) {
    Random random;
    const Weights w = make(dtype, num_out, num_in, bias, random);
    const std::size_t ldx = num_in + 3, ldy = num_out + 5;
    const std::vector<float> x = random.numbers(num_rows * ldx), before = random.numbers(num_rows * ldy);
    std::vector<float> y = before;
    linear(w.matrix, x.data(), ldx, num_rows, y.data(), ldy, accumulate, pool);
    const double tolerance = 1e-6 * static_cast<double>(num_in) * (dtype == DType::int8 ? 64 : 1);
    for (std::size_t i = 0; i < num_rows; ++i)
        for (std::size_t n = 0; n < ldy; ++n) {
            double want = n < num_out && !accumulate ? 0 : before[i * ldy + n];
            if (n < num_out) {
                for (std::size_t k = 0; k < num_in; ++k) want += w.exact[n * num_in + k] * x[i * ldx + k];
                if (bias) want += w.bias[n];
            }
            CHECK_NEAR(y[i * ldy + n], want, n < num_out ? tolerance : 0);
        }
}

}  // namespace

int main() {
    ThreadPool one(1), three(3);
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16, DType::int8})
        for (const std::size_t num_rows : {1, 2, 5, 12, 13, 241})
            for (const std::size_t num_out : {1, 16, 31, 48, 150}) {
                check(dtype, num_rows, num_out, 33, num_rows % 2, num_out % 2, three);
                if (num_rows == 13) check(dtype, num_rows, num_out, 600, true, false, one);
            }
    check(DType::float32, 0, 16, 16, true, false, one);

    // Every half that is finite.
    std::vector<std::uint16_t> halves;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits)
        if ((bits & 0x7c00) != 0x7c00) halves.push_back(static_cast<std::uint16_t>(bits));
    std::vector<float> values(halves.size());
    kernels().fp16_to_float(halves.data(), halves.size(), values.data());
    for (std::size_t i = 0; i < halves.size(); ++i) CHECK(values[i] == half_to_float(halves[i]));
}

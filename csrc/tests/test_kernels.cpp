// Row kernels equal the standard library's functions in double precision, at lengths that fill no register.
#include "kernels.h"

#include <algorithm>

#include "check.h"
#include "random.h"

using namespace harken;

int main() {
    const Kernels& kernel = kernels();
    Random random;
    for (const std::size_t n : {1, 3, 8, 16, 17, 64, 100}) {
        std::vector<float> x = random.numbers(n), w = random.numbers(n), b = random.numbers(n), y(n);
        double mean = 0, squares = 0;
        for (const float value : x) mean += value / static_cast<double>(n);
        for (const float value : x) squares += value * static_cast<double>(value);
        const double rms = std::sqrt(squares / n + 1e-5), deviation = std::sqrt(squares / n - mean * mean + 1e-5);
        kernel.rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
        for (std::size_t i = 0; i < n; ++i) CHECK_NEAR(y[i], x[i] / rms * w[i], 2e-6);
        kernel.layer_norm(x.data(), w.data(), b.data(), n, 1e-5f, y.data());
        for (std::size_t i = 0; i < n; ++i) CHECK_NEAR(y[i], (x[i] - mean) / deviation * w[i] + b[i], 2e-5);

        for (float& value : x) value *= 8;
        y = x;
        kernel.gelu(y.data(), n);
        for (std::size_t i = 0; i < n; ++i) CHECK_NEAR(y[i], x[i] / 2 * (1 + std::erf(x[i] / std::sqrt(2.0))), 2e-6);
        kernel.swiglu(x.data(), w.data(), n, y.data());
        for (std::size_t i = 0; i < n; ++i) CHECK_NEAR(y[i], x[i] / (1 + std::exp(-double{x[i]})) * w[i], 1e-6);

        y = x;
        const float sum = kernel.exp_row(y.data(), n, 3.0f), highest = *std::max_element(x.begin(), x.end());
        double want_sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double want = std::exp(3.0 * (double{x[i]} - highest));
            CHECK_NEAR(y[i], want, 3e-6 * want + 1e-36);
            want_sum += want;
        }
        CHECK_NEAR(sum, want_sum, 1e-6 * want_sum);
    }

    // Far out: nothing becomes infinite or NaN.
    std::vector<float> far{-1e30f, -200.0f, -90.0f, 0.0f, 90.0f, 200.0f, 1e30f, 5.0f}, ones(8, 1.0f), y(8);
    kernel.swiglu(far.data(), ones.data(), 8, y.data());
    CHECK(y[0] == 0.0f && std::fabs(y[2]) < 1e-30f && y[5] == 200.0f && y[6] == 1e30f);
    y = far;
    kernel.gelu(y.data(), 8);
    CHECK(y[0] == 0.0f && y[6] == 1e30f);
    y = far;
    CHECK(kernel.exp_row(y.data(), 8, 1.0f) == 1.0f && y[0] == 0.0f && y[6] == 1.0f);
}

// Every kernel of the encoder against the CPU library's own code, at sizes that leave tiles unfilled.
#include <functional>

#include "attention.h"
#include "check.h"
#include "cuda/device_attention.h"
#include "cuda/device_matrix.h"
#include "cuda/embedding.h"
#include "cuda/norms.h"
#include "cuda/numbers.h"
#include "cuda/pointwise.h"
#include "cuda/products.h"
#include "decoder.h"
#include "error.h"
#include "half.h"
#include "kernels.h"
#include "linear.h"
#include "random.h"

using namespace harken;
using cuda::DeviceBuffer;
using cuda::Stream;

namespace {

constexpr double kSame = 2e-5, kNarrow[] = {0, 1e-3, 8e-3};  // float32; float16, bfloat16: half a step at 2

/// Numbers in a dtype as the device holds them.
std::vector<std::uint16_t> narrowed(const std::vector<float>& x, DType dtype) {
    std::vector<std::uint16_t> out;
    for (const float value : x) out.push_back(dtype == DType::float16 ? float_to_half(value) : float_to_bfloat16(value));
    return out;
}

/// What `write` puts where it is told to, as floats.
std::vector<float> written(std::size_t n, DType dtype, const std::function<void(void*)>& write) {
    if (dtype == DType::float32) {
        std::vector<float> out(n);
        write(out.data());
        return out;
    }
    std::vector<std::uint16_t> bits(n);
    std::vector<float> out;
    write(bits.data());
    for (const std::uint16_t x : bits) out.push_back(dtype == DType::float16 ? half_to_float(x) : bfloat16_to_float(x));
    return out;
}

void same(const std::vector<float>& got, const std::vector<float>& want, double tolerance) {
    CHECK(got.size() == want.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK_NEAR(got[i], want[i], tolerance * std::fmax(1.0, std::fabs(want[i])));
}

double tolerance(DType dtype) { return dtype == DType::float32 ? kSame : kNarrow[static_cast<int>(dtype)]; }

void norms(Stream& stream) {
    Random random;
    for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16})
        for (const std::size_t width : {1, 31, 200}) {
            const std::size_t n = 5;
            std::vector<float> x = random.numbers(n * width), weight = random.numbers(width), bias = random.numbers(width);
            for (std::size_t i = 0; i < width; ++i) x[i] = 100 + x[i];  // a row far from zero
            std::vector<float> want(n * width);
            for (std::size_t i = 0; i < n; ++i)
                kernels().rms_norm(x.data() + i * width, weight.data(), width, 1e-6f, want.data() + i * width);
            same(written(n * width, dtype,
                         [&](void* y) { cuda::rms_norm(x.data(), weight.data(), n, width, 1e-6f, dtype, y, stream); }),
                 want, tolerance(dtype));
            for (std::size_t i = 0; i < n; ++i)
                kernels().layer_norm(x.data() + i * width, weight.data(), bias.data(), width, 1e-5f, want.data() + i * width);
            same(written(n * width, dtype,
                         [&](void* y) {
                             cuda::layer_norm(x.data(), weight.data(), bias.data(), n, width, 1e-5f, dtype, y, stream);
                         }),
                 want, 10 * tolerance(dtype));
            x.assign(n * width, 0.5f);
            want.assign(n * width, 1.0f / std::sqrt(static_cast<float>(width)));
            for (std::size_t i = 0; i < width; ++i) x[i] = want[i] = 0;  // a row of no length stays
            same(written(n * width, dtype, [&](void* y) { cuda::scale_rows(x.data(), n, width, true, dtype, y, stream); }), want,
                 tolerance(dtype));
        }
}

void pointwise(Stream& stream) {
    Random random;
    const std::size_t n = 7, width = 45;
    const std::vector<float> x = random.numbers(2 * n * width);
    std::vector<float> want(x), got(n * width);
    kernels().gelu(want.data(), want.size());
    same(written(x.size(), DType::float32, [&](void* y) { cuda::gelu(x.data(), x.size(), DType::float32, y, stream); }), want,
         kSame);
    want.resize(n * width);
    for (std::size_t i = 0; i < n; ++i)
        kernels().swiglu(x.data() + 2 * i * width, x.data() + (2 * i + 1) * width, width, want.data() + i * width);
    same(written(n * width, DType::bfloat16, [&](void* y) { cuda::swiglu(x.data(), n, width, DType::bfloat16, y, stream); }),
         want, tolerance(DType::bfloat16));

    const std::vector<std::int32_t> rows{3, -1, 0, 12, 3, -1, 1}, ends{4, 3, 2, 14, 9, 1, 2};
    const auto at = [&](std::int32_t row, std::size_t j) {
        return row < 0 ? 0.0f : x[static_cast<std::size_t>(row) * width + j];
    };
    for (std::size_t i = 0; i < n * width; ++i) want[i] = at(rows[i / width], i % width);
    same(written(n * width, DType::float16,
                 [&](void* y) { cuda::gather_rows(x.data(), rows.data(), n, width, DType::float16, y, stream); }),
         want, tolerance(DType::float16));
    const std::vector<std::int32_t> firsts{3, 2, 0, 12, 3, 0, 1};
    for (std::size_t i = 0; i < n * width; ++i) want[i] = x[i] + at(firsts[i / width], i % width);
    got.assign(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n * width));
    cuda::add_rows(x.data(), firsts.data(), n, width, got.data(), stream);
    same(got, want, 0);
    for (std::size_t i = 0; i < n * width; ++i)
        want[i] = 0.5f * (at(firsts[i / width], i % width) + at(firsts[i / width] + 1, i % width));
    cuda::mean_pairs(x.data(), firsts.data(), n, width, got.data(), stream);
    same(got, want, 0);
    for (std::size_t i = 0; i < n * width; ++i) {
        float sum = 0;
        for (std::int32_t row = firsts[i / width]; row < ends[i / width]; ++row) sum += at(row, i % width);
        want[i] = sum / static_cast<float>(ends[i / width] - firsts[i / width]);
    }
    cuda::mean_ranges(x.data(), firsts.data(), ends.data(), n, width, got.data(), stream);
    same(got, want, 0);
}

void rotation(Stream& stream) {
    DecoderConfig config;
    config.head_width = 6;
    config.rope_theta = 1e4;
    std::vector<float> cosines(40 * 3), sines(40 * 3);
    rotary_tables(config, 40, cosines.data(), sines.data());
    CHECK_NEAR(cosines[39 * 3 + 1], std::cos(39 * std::pow(1e4, -1.0 / 3)), 1e-5);
    Random random;
    const std::vector<float> x = random.numbers(2 * 20);  // two rows of three heads, two of which are turned
    std::vector<float> got = x;
    const std::vector<std::int32_t> positions{39, 0};
    cuda::rotate(got.data(), 20, positions.data(), cosines.data(), sines.data(), 2, 2, 6, stream);
    for (std::size_t i = 0; i < 40; ++i) {
        const std::size_t d = i % 6, half = d % 3;
        if (i >= 12) {
            CHECK(got[i] == x[i]);  // the third head, what lies behind it, and position 0
            continue;
        }
        const float c = cosines[39 * 3 + half], s = sines[39 * 3 + half];
        CHECK_NEAR(got[i], d < 3 ? x[i] * c - x[i + 3] * s : x[i] * c + x[i - 3] * s, 1e-6);
    }
}

/// One width and kind of attention over sequences of one to many tiles.
void attention(std::size_t head_width, bool causal, bool last_only, DType dtype, Stream& stream) {
    Random random;
    const AttentionShape shape{4, 2, head_width, causal, 1.0f / std::sqrt(static_cast<float>(head_width))};
    const Segments segments({1, 33, 70, 32});
    const std::size_t q_width = 4 * head_width, kv_width = 2 * head_width, ldx = q_width + 2 * kv_width;
    std::vector<float> x = random.numbers(segments.num_rows() * ldx);
    for (float& value : x) value *= 3;
    std::vector<float> q = x;
    const std::size_t num_out = last_only ? segments.size() : segments.num_rows();
    if (last_only)
        for (std::size_t i = 0; i < segments.size(); ++i)
            std::copy_n(x.data() + (segments.end(i) - 1) * ldx, ldx, q.data() + i * ldx);
    std::vector<float> want(num_out * q_width);
    ThreadPool pool(1);
    attention(shape, q.data(), x.data() + q_width, x.data() + q_width + kv_width, ldx, segments, last_only, want.data(), pool);
    const auto tasks = cuda::attention_tasks(segments, last_only);
    same(written(want.size(), dtype,
                 [&](void* out) {
                     cuda::attention(shape, x.data(), x.data() + q_width, x.data() + q_width + kv_width, ldx, tasks.data(),
                                     tasks.size(), dtype, out, stream);
                 }),
         want, tolerance(dtype));
}

/// y = x W^T + b by cuBLASLt where a test provides one, else by the library's own kernel.
void product(DType dtype, std::size_t num_rows, std::size_t num_out, std::size_t num_in, bool bias, Stream& stream) {
    Random random;
    const std::vector<float> w = random.numbers(num_out * num_in), x = random.numbers(num_rows * num_in),
                             b = random.numbers(num_out);
    const std::size_t num_panels = (num_out + kPanel - 1) / kPanel;
    std::vector<float> panels(num_panels * num_in * kPanel), scales((num_in + kScaleSpan - 1) / kScaleSpan * num_panels * kPanel);
    pack_panels(w.data(), num_in, num_out, num_in, panels.data());
    for (float& scale : scales) scale = 0.01f + std::fabs(random.number());
    std::vector<std::int8_t> bytes;
    for (const float value : panels) bytes.push_back(static_cast<std::int8_t>(std::lround(value * 127)));
    const std::vector<std::uint16_t> bits = narrowed(panels, dtype);
    PackedMatrix packed;
    packed.dtype = dtype;
    packed.panels = dtype == DType::float32 ? static_cast<const void*>(panels.data())
                    : dtype == DType::int8  ? static_cast<const void*>(bytes.data())
                                            : bits.data();
    packed.scales = dtype == DType::int8 ? scales.data() : nullptr;
    packed.bias = bias ? b.data() : nullptr;
    packed.num_out = num_out;
    packed.num_in = num_in;

    DeviceBuffer staging;
    const cuda::DeviceMatrix matrix(packed, staging, stream);
    CHECK(matrix.dtype == (dtype == DType::int8 ? DType::bfloat16 : dtype));
    cuda::Products products(stream);
    const std::vector<std::uint16_t> narrow = narrowed(x, matrix.dtype);
    const void* operand = matrix.dtype == DType::float32 ? static_cast<const void*>(x.data()) : narrow.data();
    const auto rounded = [&](float value) {
        return matrix.dtype == DType::float32   ? value
               : matrix.dtype == DType::float16 ? half_to_float(float_to_half(value))
                                                : bfloat16_to_float(float_to_bfloat16(value));
    };
    std::vector<float> got(num_rows * num_out), want(num_rows * num_out), twice(num_rows * num_out, 0.5f);
    products.run(matrix, operand, num_rows, got.data());
    products.run(matrix, operand, num_rows, twice.data(), true);
    for (std::size_t i = 0; i < num_rows; ++i)
        for (std::size_t j = 0; j < num_out; ++j) {
            double sum = bias ? b[j] : 0.0;
            for (std::size_t k = 0; k < num_in; ++k) {
                const float scale = scales[k / kScaleSpan * num_panels * kPanel + j];
                const float weight = dtype == DType::int8
                                         ? rounded(static_cast<float>(std::lround(w[j * num_in + k] * 127)) * scale)
                                         : rounded(w[j * num_in + k]);
                sum += static_cast<double>(weight) * rounded(x[i * num_in + k]);
            }
            want[i * num_out + j] = static_cast<float>(sum);
        }
    same(got, want, 1e-4);
    for (float& value : want) value += 0.5f;
    same(twice, want, 1e-4);
    if (products.by_cublaslt() || num_rows < 2) return;
    // Bit by bit the same without the rows before it.
    std::vector<float> last(num_out);
    const std::size_t size = dtype_bytes(matrix.dtype);
    products.run(matrix, static_cast<const char*>(operand) + (num_rows - 1) * num_in * size, 1, last.data());
    CHECK(std::equal(last.begin(), last.end(), got.end() - static_cast<std::ptrdiff_t>(num_out)));
}

void embeddings(DType dtype, Stream& stream) {
    Random random;
    const std::size_t num_rows = 9, width = 37;
    const std::vector<float> numbers = random.numbers(num_rows * width), audio = random.numbers(2 * width),
                             scales = random.numbers(num_rows);
    std::vector<std::int8_t> bytes;
    for (const float value : numbers) bytes.push_back(static_cast<std::int8_t>(std::lround(value * 127)));
    const std::vector<std::uint16_t> bits = narrowed(numbers, dtype);
    Table table;
    table.dtype = dtype;
    table.rows = dtype == DType::float32 ? static_cast<const void*>(numbers.data())
                 : dtype == DType::int8  ? static_cast<const void*>(bytes.data())
                                         : bits.data();
    table.scales = dtype == DType::int8 ? scales.data() : nullptr;
    table.num_rows = num_rows;
    table.width = width;
    const std::vector<std::int32_t> sources{8, -1, -2, 0};
    std::vector<float> got(4 * width), want(audio);
    cuda::DeviceTable(table, stream).look_up(sources.data(), 4, audio.data(), got.data(), stream);
    want.insert(want.begin(), width, 0);
    want.resize(4 * width);
    table.copy_row(8, want.data());
    table.copy_row(0, want.data() + 3 * width);
    same(got, want, 0);
}

}  // namespace

int main(int argc, char**) {
    Stream stream;
    CHECK(cuda::Products(stream).by_cublaslt() == (argc > 1));  // --cublaslt
    norms(stream);
    pointwise(stream);
    rotation(stream);
    attention(6, true, false, DType::float32, stream);
    attention(64, false, false, DType::bfloat16, stream);
    attention(128, true, false, DType::float16, stream);
    attention(40, true, true, DType::float32, stream);
    for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16, DType::int8}) {
        product(dtype, 70, 67, 35, true, stream);
        product(dtype, 1, 16, 16, false, stream);
        embeddings(dtype, stream);
    }
}

// What a test written in Python calls of the CUDA part, besides the C interface: arrays in host memory, a status, a text.
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "cuda/device_logmel.h"
#include "cuda/device_pool.h"
#include "error.h"

#define API extern "C" __attribute__((visibility("default")))

namespace {

using namespace harken;
using cuda::DeviceBuffer;

thread_local std::string last_error;
void* stream = nullptr;

template <typename Body>
int guarded(Body&& body) {
    try {
        body();
        return HARKEN_OK;
    } catch (const Error& error) {
        last_error = error.what();
        return error.code();
    }
}

DeviceBuffer on_device(const void* host, std::size_t num_bytes) {
    DeviceBuffer buffer(num_bytes);
    buffer.copy_from(host, num_bytes);
    return buffer;
}

}  // namespace

API const char* test_error() { return last_error.c_str(); }
/// What the work goes to from now on.
API void test_stream(void* wanted) { stream = wanted; }
API int test_capability(int device, int* capability) {
    return guarded([&] { *capability = cuda::compute_capability(device); });
}

/// \param max_samples  0: none
/// \param first_rows   [num_clips + 1]
API int test_logmel(const char* name, const float* samples, const std::int64_t* starts, std::size_t num_clips,
                    std::size_t extra_frames, std::size_t max_samples, float* out, std::size_t* first_rows) {
    return guarded([&] {
        const cuda::OnDevice here(0);
        cuda::DeviceLogMel logmel(mel_spec(name), 0);
        const DeviceBuffer on = on_device(samples, static_cast<std::size_t>(starts[num_clips]) * sizeof(float));
        DeviceBuffer features;
        const std::vector<std::size_t> rows = logmel.compute(on, {starts, num_clips + 1}, features, extra_frames,
                                                             max_samples == 0 ? LogMel::no_cap : max_samples, stream);
        std::copy(rows.begin(), rows.end(), first_rows);
        features.copy_to(out, rows.back() * static_cast<std::size_t>(logmel.host().spec().num_mels) * sizeof(float));
    });
}

struct TestHead {
    std::size_t dim;
    const float* weight;  // [dim, width]
    const float* norm_weight;
    const float* norm_bias;
    bool normalize_input;
};

API int test_pool(const void* hidden, int dtype, std::size_t num_rows, std::size_t width, const float* norm_weight, float eps,
                  const std::size_t* ranges, std::size_t num_ranges, const TestHead* given, bool normalize, float* vectors) {
    return guarded([&] {
        const cuda::OnDevice here(0);
        const auto stored = static_cast<DType>(dtype);
        cuda::DevicePool pool(RmsNorm{norm_weight, width, eps}, stored, 0);
        std::vector<RowRange> rows;
        for (std::size_t b = 0; b < num_ranges; ++b) rows.push_back({ranges[2 * b], ranges[2 * b + 1]});
        const DeviceBuffer states = on_device(hidden, num_rows * width * dtype_bytes(stored));
        DeviceBuffer out;
        if (given == nullptr) {
            pool.run(states, num_rows, rows, nullptr, normalize, out, stream);
            return out.copy_to(vectors, num_ranges * width * sizeof(float));
        }
        cuda::DeviceHead head;
        head.dim = given->dim;
        head.normalize_input = given->normalize_input;
        DeviceBuffer weight, bias;
        if (given->norm_weight != nullptr) {
            weight = on_device(given->norm_weight, given->dim * sizeof(float));
            bias = on_device(given->norm_bias, given->dim * sizeof(float));
            head.norm_weight = weight.as<float>();
            head.norm_bias = bias.as<float>();
        }
        // Device memory is the host's here.
        head.project = [&](const float* x, std::size_t n, float* y, void*) {
            for (std::size_t i = 0; i < n; ++i)
                for (std::size_t v = 0; v < given->dim; ++v) {
                    double sum = 0;
                    for (std::size_t j = 0; j < width; ++j) sum += double{x[i * width + j]} * given->weight[v * width + j];
                    y[i * given->dim + v] = static_cast<float>(sum);
                }
        };
        pool.run(states, num_rows, rows, &head, normalize, out, stream);
        out.copy_to(vectors, num_ranges * given->dim * sizeof(float));
    });
}

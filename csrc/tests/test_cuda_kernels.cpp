// Log-mel and pooling on a CUDA device, if there is one with code for it: the CPU's numbers.
#include <cstdio>

#if !defined(HARKEN_WITH_CUDA)
int main() { std::puts("built without CUDA"); }
#else
#include "check.h"
#include "cuda/device_logmel.h"
#include "cuda/device_pool.h"
#include "random.h"

using namespace harken;
using cuda::DeviceBuffer;

namespace {

DeviceBuffer on_device(const std::vector<float>& values) {
    DeviceBuffer buffer(values.size() * sizeof(float));
    buffer.copy_from(values.data(), values.size() * sizeof(float));
    return buffer;
}

std::vector<float> on_host(const DeviceBuffer& buffer, std::size_t n) {
    std::vector<float> values(n);
    buffer.copy_to(values.data(), n * sizeof(float));
    return values;
}

void logmel(const char* name) {
    const MelSpec spec = mel_spec(name);
    if (!cuda::DeviceLogMel::available(spec, 0)) return (void)std::printf("no kernels of %s for this device\n", name);
    const std::vector<std::int64_t> starts = {0, 1, 322, 6000, 60000};
    Random random;
    std::vector<float> samples = random.numbers(static_cast<std::size_t>(starts.back()));
    for (std::size_t i = 2000; i < 5000; ++i) samples[i] *= 1e-4f;
    cuda::DeviceLogMel device(spec, 0);
    DeviceBuffer features;
    const std::vector<std::size_t> rows = device.compute(on_device(samples), starts, features);
    std::vector<float> want(rows.back() * static_cast<std::size_t>(spec.num_mels));
    ThreadPool pool(1);
    device.host().compute_all(samples.data(), starts, want.data(), 0, LogMel::no_cap, pool);
    const std::vector<float> got = on_host(features, want.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK_NEAR(got[i], want[i], 1e-4 * spec.log_gain / spec.divisor * 4);
    std::printf("%s: %zu rows\n", name, rows.back());
}

void pool(std::size_t width) {
    if (!cuda::DevicePool::available(width, DType::float32, 0)) return (void)std::puts("no kernels of pooling for this device");
    const std::size_t num_rows = 300;
    Random random;
    const std::vector<float> hidden = random.numbers(num_rows * width), weight = random.numbers(width);
    const std::vector<RowRange> ranges = {{0, 1}, {3, 70}, {70, 71}, {100, 300}};
    const RmsNorm norm{weight.data(), width, 1e-6f};
    Recipe recipe;
    recipe.normalize = true;
    std::vector<float> want(ranges.size() * width);
    ThreadPool threads(1);
    pool_vectors(hidden.data(), ranges, norm, nullptr, recipe, want.data(), threads);
    cuda::DevicePool device(norm, DType::float32, 0);
    DeviceBuffer vectors;
    device.run(on_device(hidden), num_rows, ranges, nullptr, true, vectors);
    const std::vector<float> got = on_host(vectors, want.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK_NEAR(got[i], want[i], 1e-5);
    std::printf("pooled rows of %zu\n", width);
}

}  // namespace

int main() {
    if (cuda::num_devices() == 0) {
        CHECK_THROWS(Error, cuda::DeviceLogMel(mel_spec("whisper-128"), 0));
        CHECK(!cuda::DeviceLogMel::available(mel_spec("whisper-128"), 0));
        std::puts("no CUDA device");
        return 0;
    }
    const cuda::OnDevice here(0);
    for (const char* name : {"whisper-128", "whisper-80", "dasheng-64", "htsat-64"}) logmel(name);
    for (const std::size_t width : {64, 512, 1280, 3584, 8192}) pool(width);
}
#endif

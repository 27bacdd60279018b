// The emulator itself: what a kernel can do, and that what must not be done is found.
#include <thread>

#include "check.h"
#include "cuda/device_corpus.h"
#include "cuda/launch.h"
#include "error.h"
#include "random.h"
#include "topk.h"

using harken::Error;
using harken::cuda::DeviceBuffer;
using harken::cuda::launch;

namespace {

/// sums[block] = sum of x over the block's threads, by shuffles and shared memory.
__global__ void sum_kernel(const float* x, float* sums) {
    __shared__ float of_warp[4];
    float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) sums[blockIdx.x] = of_warp[0] + of_warp[1] + of_warp[2] + of_warp[3];
}

__global__ void some_miss_the_barrier(int* out) {
    if (threadIdx.x < 40) return;
    __syncthreads();
    out[0] = 1;
}
__global__ void lanes_part(int* out) {
    if (threadIdx.x % 32 < 16) __syncwarp();
    else __syncthreads();
    out[0] = 1;
}
__global__ void reads_past_the_warp(int* out) { out[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1, 1); }
__global__ void reads_a_lane_that_is_out(int* out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

void fails(void (*kernel)(int*), const char* part) {
    std::vector<int> out(64);
    try {
        launch("a test", kernel, 1, 64, nullptr, out.data());
    } catch (const Error& error) {
        if (std::strstr(error.what(), part) == nullptr) std::fprintf(stderr, "%s; wanted %s\n", error.what(), part);
        CHECK(error.code() == HARKEN_BACKEND_ERROR && std::strstr(error.what(), part) != nullptr);
        return;
    }
    CHECK(false);
}

void sums() {
    std::vector<float> x(3 * 128), got(3);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    launch("sums", &sum_kernel, 3, 128, nullptr, x.data(), got.data());
    for (std::size_t block = 0; block < 3; ++block) CHECK(got[block] == 128.0f * (128.0f * static_cast<float>(block) + 63.5f));
}

void memory_and_devices() {
    const std::size_t before = cuda_on_cpu::used_bytes();
    {
        const DeviceBuffer kept(1000);
        CHECK(cuda_on_cpu::used_bytes() == before + 1000);
        cuda_on_cpu::set_free_bytes(50);
        CHECK_THROWS(Error, DeviceBuffer(51));
        cuda_on_cpu::set_free_bytes(SIZE_MAX);
    }
    CHECK(cuda_on_cpu::used_bytes() == before);
    cuda_on_cpu::set_num_devices(0);
    CHECK(harken::cuda::num_devices() == 0);
    CHECK_THROWS(Error, harken::cuda::OnDevice(0));
    cuda_on_cpu::set_num_devices(1);
    CHECK_THROWS(Error, harken::cuda::OnDevice(1));
}

/// The top-K of device_corpus.cu gives the CPU's hits.
void search(std::size_t num_rows, std::size_t num_queries) {
    Random random;
    const std::size_t width = 40, k = 7;
    const std::vector<float> rows = random.numbers(num_rows * width), queries = random.numbers(num_queries * width);
    std::vector<std::uint64_t> filter((num_rows + 63) / 64, 0x5555555555555555);
    harken::Corpus corpus;
    corpus.rows = rows.data();
    corpus.num_rows = num_rows;
    corpus.width = width;
    harken::ThreadPool pool(1);
    std::vector<float> scores(num_queries * k), want_scores(num_queries * k);
    std::vector<std::int64_t> ids(num_queries * k), want_ids(num_queries * k);
    harken::topk(corpus, queries.data(), num_queries, k, filter.data(), want_scores.data(), want_ids.data(), pool);
    harken::cuda::DeviceCorpus(corpus, 0).search(queries.data(), num_queries, k, filter.data(), scores.data(), ids.data());
    CHECK(ids == want_ids);
    for (std::size_t i = 0; i < scores.size(); ++i) CHECK_NEAR(scores[i], want_scores[i], 1e-5);
}

}  // namespace

int main() {
    sums();
    fails(&some_miss_the_barrier, "24 at a barrier, 0 in a warp, 40 have ended");
    sums();
    fails(&lanes_part, "32 in a warp");
    fails(&reads_past_the_warp, "lane 32 is read");
    fails(&reads_a_lane_that_is_out, "lane 20 is read");
    sums();
    std::thread(sums).join();
    memory_and_devices();
    search(700, 9);
    search(4200, 1);
}

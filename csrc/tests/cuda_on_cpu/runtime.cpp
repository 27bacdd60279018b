#include <atomic>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "cuda_runtime.h"

namespace cuda_on_cpu {
namespace {

std::atomic<int> num_devices{1};
thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

std::mutex memory_lock;
std::unordered_map<void*, std::size_t> allocated;
std::size_t used = 0, limit = std::numeric_limits<std::size_t>::max();

cudaError_t noted(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

}  // namespace

void set_num_devices(int count) { num_devices = count; }

void set_free_bytes(std::size_t num_bytes) {
    const std::lock_guard lock(memory_lock);
    limit =
        num_bytes > std::numeric_limits<std::size_t>::max() - used ? std::numeric_limits<std::size_t>::max() : used + num_bytes;
}

std::size_t used_bytes() {
    const std::lock_guard lock(memory_lock);
    return used;
}

}  // namespace cuda_on_cpu

using namespace cuda_on_cpu;

cudaError_t cudaGetDeviceCount(int* count) {
    *count = num_devices;
    return noted(num_devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
    *device = current_device;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= num_devices) return noted(cudaErrorInvalidDevice);
    current_device = device;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaGetLastError() {
    if (!fault().empty()) return cudaErrorLaunchFailure;
    return std::exchange(last_error, cudaSuccess);
}
const char* cudaGetErrorString(cudaError_t error) {
    static thread_local std::string text;
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice: return "invalid device ordinal";
        case cudaErrorLaunchFailure: text = take_fault(); return text.c_str();
        default: return "invalid value";
    }
}

cudaError_t cudaMalloc(void** data, std::size_t num_bytes) {
    const std::lock_guard lock(memory_lock);
    *data = nullptr;
    if (num_bytes > limit - used) return noted(cudaErrorMemoryAllocation);
    // Exactly as many bytes as were asked for, so that a sanitizer sees a kernel that leaves them; NaN until they are written.
    *data = std::malloc(num_bytes);
    if (*data == nullptr) return noted(cudaErrorMemoryAllocation);
    std::memset(*data, 0xff, num_bytes);
    allocated[*data] = num_bytes;
    used += num_bytes;
    return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
    if (data == nullptr) return cudaSuccess;
    const std::lock_guard lock(memory_lock);
    const auto at = allocated.find(data);
    if (at == allocated.end()) return noted(cudaErrorInvalidValue);
    used -= at->second;
    allocated.erase(at);
    std::free(data);
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t num_bytes, cudaMemcpyKind) {
    if (num_bytes > 0) std::memcpy(to, from, num_bytes);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t num_bytes, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, num_bytes, kind);
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind) {
    for (std::size_t i = 0; i < height; ++i)
        std::memcpy(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width);
    return cudaSuccess;
}
cudaError_t cudaMemset(void* data, int value, std::size_t num_bytes) {
    if (num_bytes > 0) std::memset(data, value, num_bytes);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

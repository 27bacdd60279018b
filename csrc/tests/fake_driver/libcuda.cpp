// A CUDA driver for machines without one: memory is the host's, and a launch is handed to a function that the test gives.
// It refuses what a driver refuses: code for other devices, launches without a context, blocks that are too large.
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum : int {
    kSuccess = 0,
    kInvalidValue = 1,
    kInvalidImage = 200,
    kInvalidContext = 201,
    kNoBinary = 209,
    kInvalidDevice = 101,
    kNotFound = 500,
    kLaunchFailed = 719,
};
constexpr unsigned kPlainSharedBytes = 48 * 1024, kMaxSharedBytes = 227 * 1024, kMaxThreads = 1024;

struct Function {
    const unsigned char* image;
    std::string entry;
    unsigned max_shared = kPlainSharedBytes;
};

/// \returns 0: go on; else a status of the driver
using OnLaunch = int (*)(const unsigned char* image, const char* entry, unsigned grid_x, unsigned grid_y, unsigned block,
                         unsigned shared, void** parameters);

std::mutex mutex;
int capability = 90, num_devices = 1, num_loads = 0;
OnLaunch on_launch = nullptr;
void* expected_stream = nullptr;
std::vector<Function*> functions;
int context;  // its address is the primary context
thread_local int depth = 0;

template <typename T>
T at(const unsigned char* image, std::size_t offset) {
    T value;
    std::memcpy(&value, image + offset, sizeof value);
    return value;
}

/// The architecture that an image was compiled for: of an ELF file, or of the first one in a fat binary. 0: it is no image.
int arch_of(const unsigned char* image) {
    if (at<std::uint32_t>(image, 0) == 0xba55ed50u) {
        const unsigned char* const entry = image + at<std::uint16_t>(image, 6);
        return at<std::uint16_t>(entry, 0) == 2 ? static_cast<int>(at<std::uint32_t>(entry, 28)) : 0;
    }
    if (std::memcmp(image, "\177ELF", 4) != 0 || at<std::uint16_t>(image, 18) != 190) return 0;
    // Newer files have it in the second byte.
    const std::uint32_t flags = at<std::uint32_t>(image, 48);
    return static_cast<int>(image[8] >= 8 ? flags >> 8 & 0xff : flags & 0xff);
}

}  // namespace

API void fake_driver(int capability_wanted, int devices, OnLaunch callback) {
    capability = capability_wanted;
    num_devices = devices;
    on_launch = callback;
}
/// What is given to another stream from now on is refused.
API void fake_driver_stream(void* stream) { expected_stream = stream; }
API int fake_driver_loads() { return num_loads; }
API int fake_driver_arch(const unsigned char* image) { return arch_of(image); }

API int cuInit(unsigned) { return kSuccess; }
API int cuGetErrorName(int status, const char** name) {
    static const std::map<int, const char*> names = {{kInvalidValue, "CUDA_ERROR_INVALID_VALUE"},
                                                     {kInvalidImage, "CUDA_ERROR_INVALID_IMAGE"},
                                                     {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
                                                     {kNoBinary, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                                                     {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE"},
                                                     {kNotFound, "CUDA_ERROR_NOT_FOUND"},
                                                     {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"}};
    const auto found = names.find(status);
    *name = found == names.end() ? nullptr : found->second;
    return found == names.end() ? kInvalidValue : kSuccess;
}
API int cuDeviceGetCount(int* count) {
    *count = num_devices;
    return kSuccess;
}
API int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < num_devices ? kSuccess : kInvalidDevice;
}
API int cuDeviceGetAttribute(int* value, int attribute, int) {
    if (attribute != 75 && attribute != 76) return kInvalidValue;
    *value = attribute == 75 ? capability / 10 : capability % 10;
    return kSuccess;
}
API int cuDevicePrimaryCtxRetain(void** out, int) {
    *out = &context;
    return kSuccess;
}
API int cuCtxPushCurrent_v2(void* pushed) {
    if (pushed != &context) return kInvalidContext;
    ++depth;
    return kSuccess;
}
API int cuCtxPopCurrent_v2(void** popped) {
    if (depth == 0) return kInvalidContext;
    --depth;
    *popped = &context;
    return kSuccess;
}
API int cuModuleLoadData(void** module, const void* data) {
    const auto* const image = static_cast<const unsigned char*>(data);
    if (depth == 0) return kInvalidContext;
    if (reinterpret_cast<std::uintptr_t>(image) % 8 != 0 || arch_of(image) == 0) return kInvalidImage;
    if (arch_of(image) / 10 != capability / 10 || arch_of(image) > capability) return kNoBinary;
    const std::lock_guard lock(mutex);
    ++num_loads;
    *module = const_cast<unsigned char*>(image);
    return kSuccess;
}
API int cuModuleGetFunction(void** function, void* module, const char* name) {
    if (depth == 0) return kInvalidContext;
    if (name == nullptr || *name == 0) return kNotFound;
    const std::lock_guard lock(mutex);
    functions.push_back(new Function{static_cast<const unsigned char*>(module), name});
    *function = functions.back();
    return kSuccess;
}
API int cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute != 8 || value < 0 || static_cast<unsigned>(value) > kMaxSharedBytes) return kInvalidValue;
    static_cast<Function*>(function)->max_shared = static_cast<unsigned>(value);
    return kSuccess;
}
API int cuMemcpyHtoDAsync_v2(std::uint64_t to, const void* from, std::size_t num_bytes, void* stream) {
    if (depth == 0) return kInvalidContext;
    if (stream != expected_stream) return kInvalidValue;
    std::memcpy(reinterpret_cast<void*>(to), from, num_bytes);
    return kSuccess;
}
API int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                       unsigned block_z, unsigned shared, void* stream, void** parameters, void** extra) {
    const auto* const kernel = static_cast<const Function*>(function);
    if (depth == 0) return kInvalidContext;
    if (grid_x == 0 || grid_y == 0 || grid_z != 1 || block_y != 1 || block_z != 1 || block_x == 0 || block_x > kMaxThreads ||
        shared > kernel->max_shared || stream != expected_stream || extra != nullptr)
        return kInvalidValue;
    // One after the other: so does a stream, and so does the interpreter.
    const std::lock_guard lock(mutex);
    return on_launch == nullptr ? kLaunchFailed
                                : on_launch(kernel->image, kernel->entry.c_str(), grid_x, grid_y, block_x, shared, parameters);
}

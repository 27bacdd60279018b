#include "cuda/driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "error.h"

namespace harken::cuda {
namespace {

// Of the driver's interface: plain C, fixed for every version since CUDA 4.
using Status = int;
using Context = void*;
using Module = void*;
using Function = void*;
constexpr int kMajor = 75, kMinor = 76, kMaxDynamicShared = 8;
constexpr Status kOutOfMemory = 2;
// What a block may have without being asked for.
constexpr int kPlainSharedBytes = 48 * 1024;
constexpr std::size_t kMaxBlocks = std::numeric_limits<std::int32_t>::max(), kMaxBlocksY = 65535;

struct Driver {
    Status (*init)(unsigned);
    Status (*error_name)(Status, const char**);
    Status (*device_count)(int*);
    Status (*device_get)(int*, int);
    Status (*device_attribute)(int*, int, int);
    Status (*retain)(Context*, int);
    Status (*push)(Context);
    Status (*pop)(Context*);
    Status (*load)(Module*, const void*);
    Status (*function)(Function*, Module, const char*);
    Status (*function_attribute)(Function, int, int);
    Status (*copy)(std::uint64_t, const void*, std::size_t, void*);
    Status (*launch)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
    std::string missing;  // why there is none
    int num_devices = 0;

    Driver() {
        void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            const char* const why = dlerror();
            missing = why != nullptr ? why : "libcuda.so.1 cannot be loaded";
            return;
        }
        const auto find = [&](auto& pointer, const char* name) {
            pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(dlsym(library, name));
            if (pointer == nullptr && missing.empty()) missing = std::string("libcuda.so.1 has no ") + name;
        };
        find(init, "cuInit");
        find(error_name, "cuGetErrorName");
        find(device_count, "cuDeviceGetCount");
        find(device_get, "cuDeviceGet");
        find(device_attribute, "cuDeviceGetAttribute");
        find(retain, "cuDevicePrimaryCtxRetain");
        find(push, "cuCtxPushCurrent_v2");
        find(pop, "cuCtxPopCurrent_v2");
        find(load, "cuModuleLoadData");
        find(function, "cuModuleGetFunction");
        find(function_attribute, "cuFuncSetAttribute");
        find(copy, "cuMemcpyHtoDAsync_v2");
        find(launch, "cuLaunchKernel");
        if (!missing.empty()) return;
        if (const Status status = init(0); status != 0)
            missing = "cuInit: " + name_of(status);
        else if (const Status count = device_count(&num_devices); count != 0)
            missing = "cuDeviceGetCount: " + name_of(count);
    }

    [[nodiscard]] std::string name_of(Status status) const {
        const char* name = nullptr;
        return error_name(status, &name) == 0 && name != nullptr ? name : "error " + std::to_string(status);
    }

    void check(Status status, const std::string& what) const {
        if (status != 0)
            throw Error(status == kOutOfMemory ? HARKEN_OUT_OF_MEMORY : HARKEN_BACKEND_ERROR,
                        "CUDA: " + what + ": " + name_of(status));
    }
};

const Driver& driver() {
    static const Driver found;
    return found;
}

/// What is kept of a device.
struct Device {
    int capability = 0;
    Context context = nullptr;
    std::map<const Cubin*, Function> functions;
};

std::mutex& devices_mutex() {
    static std::mutex mutex;
    return mutex;
}

/// With devices_mutex held. The context is never given back: modules live in it to the process' end.
Device& device_of(int ordinal) {
    static std::map<int, Device> devices;
    if (const auto known = devices.find(ordinal); known != devices.end()) return known->second;
    const Driver& cu = driver();
    const std::string asked = "CUDA device " + std::to_string(ordinal) + " was asked for; ";
    if (!cu.missing.empty()) throw Error(HARKEN_BACKEND_ERROR, asked + "there is no CUDA driver: " + cu.missing);
    if (ordinal < 0 || ordinal >= cu.num_devices)
        throw Error(HARKEN_BACKEND_ERROR, asked + "there are " + std::to_string(cu.num_devices));
    int handle = 0, major = 0, minor = 0;
    Device device;
    cu.check(cu.device_get(&handle, ordinal), "cuDeviceGet");
    cu.check(cu.device_attribute(&major, kMajor, handle), "cuDeviceGetAttribute");
    cu.check(cu.device_attribute(&minor, kMinor, handle), "cuDeviceGetAttribute");
    cu.check(cu.retain(&device.context, handle), "cuDevicePrimaryCtxRetain");
    device.capability = 10 * major + minor;
    return devices.emplace(ordinal, std::move(device)).first->second;
}

/// Makes a context the calling thread's own, and gives the one before back at the end.
class InContext {
  public:
    explicit InContext(Context context) { driver().check(driver().push(context), "cuCtxPushCurrent"); }
    ~InContext() {
        Context popped;
        (void)driver().pop(&popped);
    }
    InContext(const InContext&) = delete;
    InContext& operator=(const InContext&) = delete;
};

Function load(const CubinKernel& kernel, const Cubin& cubin) {
    const Driver& cu = driver();
    const std::string what = "kernel " + std::string(kernel.name) + " for sm_" + std::to_string(cubin.arch);
    Module module = nullptr;
    Function function = nullptr;
    cu.check(cu.load(&module, cubin.image), what + ", cuModuleLoadData");
    cu.check(cu.function(&function, module, kernel.entry), what + ", cuModuleGetFunction");
    if (cubin.shared_bytes > kPlainSharedBytes)
        cu.check(cu.function_attribute(function, kMaxDynamicShared, cubin.shared_bytes), what + ", cuFuncSetAttribute");
    return function;
}

}  // namespace

int compute_capability(int device) {
    const std::lock_guard lock(devices_mutex());
    return device_of(device).capability;
}

int compute_capability_or_zero(int device) noexcept {
    try {
        return compute_capability(device);
    } catch (const std::exception&) {
        return 0;
    }
}

bool has_code(const CubinKernel* kernel, int device) noexcept {
    static const bool off = [] {
        const char* const wanted = std::getenv("HARKEN_CUBINS");
        return wanted != nullptr && std::string_view(wanted) == "off";
    }();
    return !off && kernel != nullptr && kernel->cubin(compute_capability_or_zero(device)) != nullptr;
}

void copy_to_device(int device, const DeviceBuffer& to, const void* from, std::size_t num_bytes, void* stream) {
    Context context = nullptr;
    {
        const std::lock_guard lock(devices_mutex());
        context = device_of(device).context;
    }
    const InContext here(context);
    driver().check(driver().copy(reinterpret_cast<std::uintptr_t>(to.as<char>()), from, num_bytes, stream), "cuMemcpyHtoDAsync");
}

bool Argument::is_multiple_of_16() const noexcept {
    switch (type_) {
        case 'p': return reinterpret_cast<std::uintptr_t>(value_.pointer) % 16 == 0;
        case 'i': return value_.int32 % 16 == 0;
        case 'l': return value_.int64 % 16 == 0;
        default: return false;
    }
}

LoadedKernel::LoadedKernel(const CubinKernel& kernel, int device) : kernel_(&kernel) {
    const std::lock_guard lock(devices_mutex());
    Device& on = device_of(device);
    cubin_ = kernel.cubin(on.capability);
    if (cubin_ == nullptr)
        throw Error(HARKEN_BACKEND_ERROR, "kernel " + std::string(kernel.name) + " was not compiled for CUDA device " +
                                              std::to_string(device) + ", whose compute capability is " +
                                              std::to_string(on.capability / 10) + "." + std::to_string(on.capability % 10));
    context_ = on.context;
    Function& function = on.functions[cubin_];
    if (function == nullptr) {
        const InContext here(context_);
        function = load(kernel, *cubin_);
    }
    function_ = function;
}

void LoadedKernel::launch(std::size_t num_blocks, std::initializer_list<Argument> arguments, void* stream,
                          std::size_t num_blocks_y) const {
    const auto refuse = [&](harken_status status, const std::string& why) {
        throw Error(status, "kernel " + std::string(kernel_->name) + ": " + why);
    };
    if (num_blocks == 0 || num_blocks_y == 0) return;
    if (num_blocks > kMaxBlocks || num_blocks_y > kMaxBlocksY)
        refuse(HARKEN_INVALID_ARGUMENT,
               "a grid of " + std::to_string(num_blocks) + " x " + std::to_string(num_blocks_y) + " blocks");
    std::vector<void*> places;
    for (const Argument& argument : arguments) {
        const char wanted = places.size() < kernel_->types.size() ? kernel_->types[places.size()] : ' ';
        const bool multiple = 'A' <= wanted && wanted <= 'Z';
        if (argument.type() != (multiple ? wanted - 'A' + 'a' : wanted)) break;
        if (multiple && !argument.is_multiple_of_16())
            refuse(HARKEN_INVALID_ARGUMENT, "argument " + std::to_string(places.size()) + " is no multiple of 16");
        places.push_back(const_cast<void*>(argument.address()));
    }
    if (places.size() != kernel_->types.size() || places.size() != arguments.size())
        refuse(HARKEN_INTERNAL_ERROR, "argument " + std::to_string(places.size()) + " of " + std::to_string(arguments.size()) +
                                          " is not what is wanted, " + std::string(kernel_->types));
    void* scratch = nullptr;
    places.insert(places.end(), static_cast<std::size_t>(cubin_->num_scratch), &scratch);
    const InContext here(context_);
    driver().check(driver().launch(function_, static_cast<unsigned>(num_blocks), static_cast<unsigned>(num_blocks_y), 1,
                                   static_cast<unsigned>(cubin_->num_threads), 1, 1,
                                   static_cast<unsigned>(cubin_->shared_bytes), stream, places.data(), nullptr),
                   "kernel " + std::string(kernel_->name) + ", cuLaunchKernel");
}

}  // namespace harken::cuda

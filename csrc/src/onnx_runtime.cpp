#include "onnx_runtime.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "../third_party/onnxruntime/onnxruntime_c_api.h"
#include "error.h"

namespace harken {
namespace {

// The first version that knows the exported graphs' opset, 20; all that is called here is older.
constexpr std::uint32_t kApiVersion = 17;

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

/// Throw what a call of ONNX Runtime says.
void check(const OrtApi* api, OrtStatus* status, harken_status code, const std::string& where) {
    if (status == nullptr) return;
    const std::string text = where + ": " + api->GetErrorMessage(status);
    api->ReleaseStatus(status);
    throw Error(code, text);
}

/// What goes wrong comes back as a status; a library prints nothing.
void ORT_API_CALL silent(void*, OrtLoggingLevel, const char*, const char*, const char*, const char*) {}

std::vector<std::string> names_to_try(const std::string& library) {
    if (!library.empty()) return {library};
    if (const char* named = std::getenv("HARKEN_ONNXRUNTIME"); named != nullptr && *named != '\0') return {named};
    return {"libonnxruntime.so.1", "libonnxruntime.so"};
}

const OrtApiBase* load(const std::string& library) {
    std::string tried;
    for (const std::string& name : names_to_try(library)) {
        void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        const char* reason = handle == nullptr ? dlerror() : nullptr;
        void* entry = handle == nullptr ? nullptr : dlsym(handle, "OrtGetApiBase");
        if (entry != nullptr) return reinterpret_cast<const OrtApiBase*(ORT_API_CALL*)()>(entry)();
        tried +=
            (tried.empty() ? "" : "; ") + (reason != nullptr ? std::string(reason) : name + ": has no OrtGetApiBase");
    }
    throw Error(
        HARKEN_BACKEND_ERROR,
        "ONNX Runtime cannot be loaded: " + tried +
            ". Give the path of libonnxruntime.so as onnxruntime_library or in HARKEN_ONNXRUNTIME; `pip install "
            "onnxruntime` brings one, onnxruntime/capi/libonnxruntime.so.*");
}

}  // namespace

struct OnnxRuntime::Api {
    const OrtApi* api;
    Owned<OrtEnv> env;
    Owned<OrtMemoryInfo> memory;
};

OnnxRuntime::OnnxRuntime(const std::string& library) {
    const OrtApiBase* base = load(library);
    name_ = std::string("onnxruntime ") + base->GetVersionString();
    const OrtApi* api = base->GetApi(kApiVersion);
    if (api == nullptr)
        throw Error(HARKEN_BACKEND_ERROR, name_ + " is too old; wanted 1." + std::to_string(kApiVersion) + " or newer");
    OrtEnv* env = nullptr;
    check(api, api->CreateEnvWithCustomLogger(silent, nullptr, ORT_LOGGING_LEVEL_FATAL, "harken", &env),
          HARKEN_BACKEND_ERROR, name_);
    Owned<OrtEnv> owned(env, api->ReleaseEnv);
    OrtMemoryInfo* memory = nullptr;
    check(api, api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), HARKEN_BACKEND_ERROR, name_);
    api_ = std::make_unique<const Api>(Api{api, std::move(owned), {memory, api->ReleaseMemoryInfo}});
}

OnnxRuntime::~OnnxRuntime() = default;

struct OnnxGraph::Session {
    Owned<OrtSession> session;
};

OnnxGraph::OnnxGraph(std::shared_ptr<const OnnxRuntime> runtime, const std::string& path, int num_threads)
    : runtime_(std::move(runtime)), path_(path) {
    const OrtApi* api = runtime_->api_->api;
    if (std::error_code error; !std::filesystem::is_regular_file(path, error))
        throw Error(HARKEN_IO_ERROR, path + ": is no file; wanted a graph");
    const auto checked = [&](OrtStatus* status) { check(api, status, HARKEN_MODEL_ERROR, path_); };
    OrtSessionOptions* made = nullptr;
    checked(api->CreateSessionOptions(&made));
    const Owned<OrtSessionOptions> options(made, api->ReleaseSessionOptions);
    checked(api->SetIntraOpNumThreads(options.get(), num_threads));
    // It would remember a plan of memory for every length that ever came.
    checked(api->DisableMemPattern(options.get()));
    OrtSession* session = nullptr;
    checked(api->CreateSession(runtime_->api_->env.get(), path.c_str(), options.get(), &session));
    session_ = std::make_unique<const Session>(Session{{session, api->ReleaseSession}});
}

OnnxGraph::~OnnxGraph() = default;

OnnxOutput OnnxGraph::run(std::span<const OnnxInput> inputs, const char* output) const {
    const OrtApi* api = runtime_->api_->api;
    const auto checked = [&](OrtStatus* status) { check(api, status, HARKEN_BACKEND_ERROR, path_); };
    std::vector<Owned<OrtValue>> values;
    std::vector<const OrtValue*> given;
    std::vector<const char*> names;
    for (const OnnxInput& input : inputs) {
        const bool floats = std::holds_alternative<std::span<const float>>(input.values);
        const void* data = std::visit([](const auto& numbers) -> const void* { return numbers.data(); }, input.values);
        const std::size_t num_bytes =
            std::visit([](const auto& numbers) { return numbers.size_bytes(); }, input.values);
        OrtValue* value = nullptr;
        // An input is only read.
        checked(api->CreateTensorWithDataAsOrtValue(
            runtime_->api_->memory.get(), const_cast<void*>(data), num_bytes, input.shape.data(), input.shape.size(),
            floats ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &value));
        values.emplace_back(value, api->ReleaseValue);
        given.push_back(value);
        names.push_back(input.name);
    }
    OrtValue* made = nullptr;
    checked(api->Run(session_->session.get(), nullptr, names.data(), given.data(), given.size(), &output, 1, &made));
    const Owned<OrtValue> value(made, api->ReleaseValue);

    OrtTensorTypeAndShapeInfo* described = nullptr;
    checked(api->GetTensorTypeAndShape(value.get(), &described));
    const Owned<OrtTensorTypeAndShapeInfo> info(described, api->ReleaseTensorTypeAndShapeInfo);
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    checked(api->GetTensorElementType(info.get(), &type));
    if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
        throw Error(HARKEN_MODEL_ERROR, path_ + ": " + output + " is no float32");
    std::size_t num_dims = 0, num_values = 0;
    checked(api->GetDimensionsCount(info.get(), &num_dims));
    checked(api->GetTensorShapeElementCount(info.get(), &num_values));
    OnnxOutput out{std::vector<std::int64_t>(num_dims), Buffer<float>(num_values)};
    checked(api->GetDimensions(info.get(), out.shape.data(), num_dims));
    void* numbers = nullptr;
    checked(api->GetTensorMutableData(value.get(), &numbers));
    std::copy_n(static_cast<const float*>(numbers), num_values, out.values.data());
    return out;
}

}  // namespace harken

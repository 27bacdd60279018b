#include "cuda/cublaslt.h"

#include <dlfcn.h>

#include <optional>
#include <string>

namespace harken::cuda {
namespace {

constexpr int kCompute32F = 68;                                                      // cublasComputeType_t
constexpr int kTransA = 3, kTransB = 4, kEpilogue = 7, kBiasPointer = 8, kBiasType = 26;  // cublasLtMatmulDescAttributes_t
constexpr std::int32_t kPlain = 0, kTransposed = 1;                                  // cublasOperation_t
constexpr std::int32_t kEpilogueBias = 4;                                            // cublasLtEpilogue_t
constexpr int kMaxWorkspaceBytes = 1;                                                // cublasLtMatmulPreferenceAttributes_t

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
// Shapes whose algorithm is remembered; a model has ten matrices, batches have many lengths.
constexpr std::size_t kMaxPlans = 4096;

void done(int status, const char* what) {
    if (status != 0) throw Error(HARKEN_BACKEND_ERROR, std::string("cuBLASLt: ") + what + ": status " + std::to_string(status));
}

int type_of(DType dtype) {
    return dtype == DType::float16 ? CUDA_R_16F : dtype == DType::bfloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

std::optional<CublasLt> load() noexcept {
    void* library = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"})
        if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return std::nullopt;
    CublasLt found{};
    bool complete = true;
    const auto take = [&](auto& function, const char* name) {
        function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
        complete = complete && function != nullptr;
    };
    take(found.create, "cublasLtCreate");
    take(found.destroy, "cublasLtDestroy");
    take(found.product_create, "cublasLtMatmulDescCreate");
    take(found.product_destroy, "cublasLtMatmulDescDestroy");
    take(found.product_set, "cublasLtMatmulDescSetAttribute");
    take(found.layout_create, "cublasLtMatrixLayoutCreate");
    take(found.layout_destroy, "cublasLtMatrixLayoutDestroy");
    take(found.preference_create, "cublasLtMatmulPreferenceCreate");
    take(found.preference_destroy, "cublasLtMatmulPreferenceDestroy");
    take(found.preference_set, "cublasLtMatmulPreferenceSetAttribute");
    take(found.find_algorithm, "cublasLtMatmulAlgoGetHeuristic");
    take(found.multiply, "cublasLtMatmul");
    return complete ? std::optional(found) : std::nullopt;
}

}  // namespace

const CublasLt* CublasLt::find() noexcept {
    static const std::optional<CublasLt> library = load();
    return library ? &*library : nullptr;
}

/// cuBLASLt is column-major: what is y [num_rows, num_out] here is D [num_out, num_rows] there, W is A transposed, x is B.
struct LtProducts::Plan {
    const CublasLt& library;
    CublasLt::Product product = nullptr;
    CublasLt::Layout a = nullptr, b = nullptr, d = nullptr;
    std::optional<CublasLt::Found> found;

    explicit Plan(const CublasLt& given) : library(given) {}
    ~Plan() {
        for (CublasLt::Layout layout : {a, b, d})
            if (layout != nullptr) (void)library.layout_destroy(layout);
        if (product != nullptr) (void)library.product_destroy(product);
    }
    void set(int attribute, std::int32_t value) {
        done(library.product_set(product, attribute, &value, sizeof value), "an attribute");
    }
    void set_bias(const void* bias) const { done(library.product_set(product, kBiasPointer, &bias, sizeof bias), "the bias"); }
};

LtProducts::LtProducts(const CublasLt& library, Stream& stream)
    : library_(library), stream_(stream), workspace_(kWorkspaceBytes) {
    done(library_.create(&handle_), "cublasLtCreate");
}

LtProducts::~LtProducts() {
    plans_.clear();
    (void)library_.destroy(handle_);
}

const LtProducts::Plan& LtProducts::plan(const DeviceMatrix& w, std::size_t num_rows) {
    const Key key{w.dtype, w.has_bias, w.num_out, w.num_in, num_rows};
    if (const auto known = plans_.find(key); known != plans_.end()) return *known->second;
    if (plans_.size() >= kMaxPlans) plans_.clear();
    auto plan = std::make_unique<Plan>(library_);
    const auto n = static_cast<std::uint64_t>(w.num_out), k = static_cast<std::uint64_t>(w.num_in),
               m = static_cast<std::uint64_t>(num_rows);
    done(library_.product_create(&plan->product, kCompute32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    plan->set(kTransA, kTransposed);
    plan->set(kTransB, kPlain);
    if (w.has_bias) {
        plan->set(kEpilogue, kEpilogueBias);
        plan->set(kBiasType, CUDA_R_32F);
        plan->set_bias(w.bias.as<void>());
    }
    done(library_.layout_create(&plan->a, type_of(w.dtype), k, n, static_cast<std::int64_t>(k)), "the layout of W");
    done(library_.layout_create(&plan->b, type_of(w.dtype), k, m, static_cast<std::int64_t>(k)), "the layout of x");
    done(library_.layout_create(&plan->d, CUDA_R_32F, n, m, static_cast<std::int64_t>(n)), "the layout of y");
    CublasLt::Preference preference = nullptr;
    done(library_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    const std::uint64_t limit = kWorkspaceBytes;
    CublasLt::Found found{};
    int num_found = 0;
    int status = library_.preference_set(preference, kMaxWorkspaceBytes, &limit, sizeof limit);
    if (status == 0)
        status = library_.find_algorithm(handle_, plan->product, plan->a, plan->b, plan->d, plan->d, preference, 1, &found,
                                         &num_found);
    (void)library_.preference_destroy(preference);
    if (status == 0 && num_found > 0 && found.status == 0) plan->found = found;
    return *plans_.emplace(key, std::move(plan)).first->second;
}

bool LtProducts::run(const DeviceMatrix& w, const void* x, std::size_t num_rows, float* y, bool accumulate) {
    const Plan& plan = this->plan(w, num_rows);
    if (!plan.found) return false;
    if (w.has_bias) plan.set_bias(w.bias.as<void>());
    const float alpha = 1, beta = accumulate ? 1.0f : 0.0f;
    done(library_.multiply(handle_, plan.product, &alpha, w.weights.as<void>(), plan.a, x, plan.b, &beta, y, plan.d, y, plan.d,
                           &plan.found->algorithm, workspace_.as<void>(), plan.found->workspace_bytes, stream_),
         "cublasLtMatmul");
    return true;
}

}  // namespace harken::cuda

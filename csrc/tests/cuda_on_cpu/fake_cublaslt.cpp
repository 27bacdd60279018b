// libcublasLt on the CPU, as NVIDIA's documentation describes the calls that harken makes: matrices are column-major, leading
// dimensions and transposes are honoured, and what was not set has its documented default. A call that the real library
// would refuse is refused; a product of one row of 16 numbers is one it has no algorithm for.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "half.h"

namespace {

constexpr int kOk = 0, kInvalidValue = 7, kNotSupported = 15;
constexpr int kFloat = 0, kHalf = 2, kBfloat = 14, kCompute32F = 68;
constexpr std::uint64_t kMark = 0x6861726b656e;

struct Product {
    int compute_type, scale_type;
    std::int32_t transpose_a = 0, transpose_b = 0, epilogue = 1, bias_type = -1;
    const void* bias = nullptr;
};
struct Layout {
    int type;
    std::uint64_t num_rows, num_columns;
    std::int64_t ld;
};
struct Preference {
    std::uint64_t workspace_bytes = 0;
};
struct Algorithm {
    std::uint64_t data[8];
};
struct Found {
    Algorithm algorithm;
    std::size_t workspace_bytes;
    int status;
    float num_waves;
    int reserved[4];
};

float number(const void* data, int type, std::size_t i) {
    if (type == kHalf) return harken::half_to_float(static_cast<const std::uint16_t*>(data)[i]);
    if (type == kBfloat) return harken::bfloat16_to_float(static_cast<const std::uint16_t*>(data)[i]);
    return static_cast<const float*>(data)[i];
}

/// Element (row, column) of op(matrix).
float element(const void* data, const Layout& layout, bool transposed, std::uint64_t row, std::uint64_t column) {
    return transposed ? number(data, layout.type, row * static_cast<std::uint64_t>(layout.ld) + column)
                      : number(data, layout.type, column * static_cast<std::uint64_t>(layout.ld) + row);
}

/// Sizes that fit each other and types that the documentation lists together.
bool possible(const Product& product, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
    const std::uint64_t m = product.transpose_a ? a.num_columns : a.num_rows,
                        k = product.transpose_a ? a.num_rows : a.num_columns;
    const std::uint64_t n = product.transpose_b ? b.num_rows : b.num_columns,
                        other_k = product.transpose_b ? b.num_columns : b.num_rows;
    for (const Layout* layout : {&a, &b, &c, &d})
        if (layout->ld < static_cast<std::int64_t>(layout->num_rows)) return false;
    const bool bias = product.epilogue == 4;
    return k == other_k && d.num_rows == m && d.num_columns == n && c.num_rows == m && c.num_columns == n && a.type == b.type &&
           (a.type == kFloat || a.type == kHalf || a.type == kBfloat) && c.type == kFloat && d.type == kFloat &&
           product.compute_type == kCompute32F && product.scale_type == kFloat && (bias || product.epilogue == 1) &&
           (!bias || (product.bias != nullptr && (product.bias_type == kFloat || product.bias_type == -1)));
}

template <typename T>
int set(T& field, const void* value, std::size_t num_bytes) {
    if (num_bytes != sizeof(T)) return kInvalidValue;
    std::memcpy(&field, value, num_bytes);
    return kOk;
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) {
    *handle = new int;
    return kOk;
}
int cublasLtDestroy(void* handle) {
    delete static_cast<int*>(handle);
    return kOk;
}
int cublasLtMatmulDescCreate(Product** product, int compute_type, int scale_type) {
    *product = new Product{.compute_type = compute_type, .scale_type = scale_type};
    return kOk;
}
int cublasLtMatmulDescDestroy(Product* product) {
    delete product;
    return kOk;
}
int cublasLtMatmulDescSetAttribute(Product* product, int attribute, const void* value, std::size_t num_bytes) {
    switch (attribute) {
        case 3: return set(product->transpose_a, value, num_bytes);
        case 4: return set(product->transpose_b, value, num_bytes);
        case 7: return set(product->epilogue, value, num_bytes);
        case 8: return set(product->bias, value, num_bytes);
        case 26: return set(product->bias_type, value, num_bytes);
        default: return kInvalidValue;
    }
}
int cublasLtMatrixLayoutCreate(Layout** layout, int type, std::uint64_t num_rows, std::uint64_t num_columns, std::int64_t ld) {
    *layout = new Layout{type, num_rows, num_columns, ld};
    return kOk;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) {
    delete layout;
    return kOk;
}
int cublasLtMatmulPreferenceCreate(Preference** preference) {
    *preference = new Preference;
    return kOk;
}
int cublasLtMatmulPreferenceDestroy(Preference* preference) {
    delete preference;
    return kOk;
}
int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, std::size_t num_bytes) {
    return attribute == 1 ? set(preference->workspace_bytes, value, num_bytes) : kInvalidValue;
}
int cublasLtMatmulAlgoGetHeuristic(void*, Product* product, Layout* a, Layout* b, Layout* c, Layout* d, Preference* preference,
                                   int num_wanted, Found* found, int* num_found) {
    *num_found = 0;
    if (num_wanted < 1 || !possible(*product, *a, *b, *c, *d)) return kInvalidValue;
    if (d->num_rows == 16 && d->num_columns == 1) return kNotSupported;
    *found = {{{kMark}}, preference->workspace_bytes, kOk, 1, {}};
    *num_found = 1;
    return kOk;
}
int cublasLtMatmul(void*, Product* product, const float* alpha, const void* a, Layout* a_layout, const void* b, Layout* b_layout,
                   const float* beta, const void* c, Layout* c_layout, float* d, Layout* d_layout, const Algorithm* algorithm,
                   void* workspace, std::size_t workspace_bytes, void*) {
    if (!possible(*product, *a_layout, *b_layout, *c_layout, *d_layout) || algorithm->data[0] != kMark ||
        (workspace == nullptr && workspace_bytes > 0))
        return kInvalidValue;
    const std::uint64_t k = product->transpose_a ? a_layout->num_rows : a_layout->num_columns;
    for (std::uint64_t column = 0; column < d_layout->num_columns; ++column)
        for (std::uint64_t row = 0; row < d_layout->num_rows; ++row) {
            float sum = 0;
            for (std::uint64_t i = 0; i < k; ++i)
                sum += element(a, *a_layout, product->transpose_a, row, i) *
                       element(b, *b_layout, product->transpose_b, i, column);
            sum *= *alpha;
            if (*beta != 0) sum += *beta * element(c, *c_layout, false, row, column);
            if (product->epilogue == 4) sum += number(product->bias, kFloat, row);
            d[column * static_cast<std::uint64_t>(d_layout->ld) + row] = sum;
        }
    return kOk;
}

}  // extern "C"

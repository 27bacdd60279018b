/// \file
/// Products by libcublasLt, which is found when it is asked for: harken neither links it nor needs its headers.
///
/// What is declared here of its interface, and the values in cublaslt.cu, are those of NVIDIA's cuBLAS documentation (the
/// chapter on the cuBLASLt API), equal in versions 12 and 13.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "cuda/device_matrix.h"

namespace harken::cuda {

/// The library's functions. Handles are opaque, a status is 0 where a call did what it should.
struct CublasLt {
    using Handle = struct CublasLtHandle*;
    using Product = struct CublasLtProduct*;        ///< cublasLtMatmulDesc_t
    using Layout = struct CublasLtLayout*;          ///< cublasLtMatrixLayout_t
    using Preference = struct CublasLtPreference*;  ///< cublasLtMatmulPreference_t
    struct Algorithm {
        std::uint64_t data[8];
    };
    /// cublasLtMatmulHeuristicResult_t
    struct Found {
        Algorithm algorithm;
        std::size_t workspace_bytes;
        int status;
        float num_waves;
        int reserved[4];
    };

    int (*create)(Handle*);
    int (*destroy)(Handle);
    int (*product_create)(Product*, int compute_type, int scale_type);
    int (*product_destroy)(Product);
    int (*product_set)(Product, int attribute, const void* value, std::size_t num_bytes);
    int (*layout_create)(Layout*, int type, std::uint64_t num_rows, std::uint64_t num_columns, std::int64_t ld);
    int (*layout_destroy)(Layout);
    int (*preference_create)(Preference*);
    int (*preference_destroy)(Preference);
    int (*preference_set)(Preference, int attribute, const void* value, std::size_t num_bytes);
    int (*find_algorithm)(Handle, Product, Layout a, Layout b, Layout c, Layout d, Preference, int num_wanted, Found* found,
                          int* num_found);
    int (*multiply)(Handle, Product, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                    const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, std::size_t workspace_bytes,
                    cudaStream_t);

    /// libcublasLt.so.13 or .so.12 where the system finds it, loaded once; nullptr where there is none.
    static const CublasLt* find() noexcept;
};

/// Thread safety: one call at a time.
class LtProducts {
  public:
    /// \throws Error  HARKEN_BACKEND_ERROR: the library cannot be used on this device; HARKEN_OUT_OF_MEMORY
    LtProducts(const CublasLt& library, Stream& stream);
    ~LtProducts();

    /// As Products::run; false where the library has no algorithm for it.
    bool run(const DeviceMatrix& w, const void* x, std::size_t num_rows, float* y, bool accumulate);

  private:
    struct Plan;
    using Key = std::tuple<DType, bool, std::size_t, std::size_t, std::size_t>;  // dtype, bias, num_out, num_in, num_rows

    const Plan& plan(const DeviceMatrix& w, std::size_t num_rows);

    const CublasLt& library_;
    Stream& stream_;
    CublasLt::Handle handle_ = nullptr;
    DeviceBuffer workspace_;
    std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace harken::cuda

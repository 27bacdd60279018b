/// \file
/// topk.h on a CUDA device: rows stay there, queries and hits are copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "cuda/cubin_topk.h"
#include "cuda/device.h"
#include "topk.h"

namespace harken::cuda {

/// Thread safety: any number of calls at once; they take turns.
class DeviceCorpus {
  public:
    /// Copy a corpus to a device.
    /// \throws Error  HARKEN_BACKEND_ERROR: no such device; HARKEN_OUT_OF_MEMORY; HARKEN_INVALID_ARGUMENT: 2^32 rows or more
    DeviceCorpus(const Corpus& corpus, int device);

    /// As harken::topk, without `exclude`.
    void search(const float* queries, std::size_t num_queries, std::size_t k, const std::uint64_t* filter, float* scores,
                std::int64_t* ids);

  private:
    // All give hits [num_queries, k] (topk_steps.h) on the device, best first, 0 where there is none.
    const std::uint64_t* search_by_cubins(const float* queries, std::size_t num_queries, std::size_t k,
                                          const std::uint64_t* filter);
    const std::uint64_t* search_tile(const float* queries, std::size_t num_queries, std::size_t k, const std::uint64_t* filter);
    const std::uint64_t* best_hits(const std::uint64_t* hits, std::size_t num_queries, std::size_t num_hits, std::size_t keep,
                                   std::uint64_t flip_in, std::uint64_t flip_out);
    std::size_t bad_row(std::size_t first, std::size_t count, const std::uint64_t* filter) const;

    int device_;
    Corpus shape_;  // without its pointers
    std::unique_ptr<CubinTopK> cubins_;  // nullptr: nvcc's kernels make the products
    DeviceBuffer rows_, scales_, queries_, filter_, all_rows_, hits_[2], first_bad_;
    std::mutex turn_;
};

}  // namespace harken::cuda

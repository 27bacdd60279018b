/// \file
/// topk.h on a CUDA device: rows stay there, queries and hits are copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

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
    void search_tile(const float* queries, int num_queries, std::size_t k, bool filtered, float* scores, std::int64_t* ids);

    int device_;
    Corpus shape_;  // without its pointers
    DeviceBuffer rows_, scales_, queries_, filter_, hits_[2], first_bad_;
    std::mutex turn_;
};

}  // namespace harken::cuda

/// \file
/// The two products of an exact top-K search on a CUDA device, by the kernels of kernels/topk_triton.py (cubins.h).
///
///     1  of each group of rows the best score leaves the chip, as a key        2  the k best groups hold the k best rows
///     3  the rows of those groups are scored again, alone                      4  the k best keys are the hits
///
/// Steps 2 and 4 are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>

#include "cuda/device.h"
#include "cuda/driver.h"
#include "topk.h"

namespace harken::cuda {

/// What a key without a row is. Others sort as signed numbers: score first, of equal ones the lower row is the larger; with
/// the sign's bit turned round a key is a hit of topk_steps.h.
inline constexpr std::int64_t kNoKey = std::numeric_limits<std::int64_t>::min();

/// keys [num_queries, num_keys] on the device to the `keep` largest of each query there, or all, in any order.
/// \returns how many there are of each query, and where
struct ChosenKeys {
    const std::int64_t* keys;
    std::size_t count;
};
using ChooseKeys =
    std::function<ChosenKeys(const std::int64_t* keys, std::size_t num_queries, std::size_t num_keys, std::size_t keep)>;

/// Not for several threads at once.
class CubinTopK {
  public:
    /// Whether the library carries the kernels for a device, for rows of this dtype and width.
    [[nodiscard]] static bool available(const Corpus& shape, int device) noexcept;

    /// \param shape   of a corpus whose rows lie side by side on the device
    /// \throws Error  HARKEN_BACKEND_ERROR: no such device, or no kernels for it
    CubinTopK(const Corpus& shape, int device);

    /// How many queries go at once.
    [[nodiscard]] std::size_t max_queries() const noexcept { return max_queries_; }

    struct Keys {
        const std::int64_t* keys;  ///< [num_queries, num_keys] on the device, among them the k best rows' of each query
        std::size_t num_keys;
        std::int64_t bad_tile;  ///< first row of the first `tile_rows` rows that hold one that is not finite, or -1
        std::size_t tile_rows;
    };
    /// \param rows, scales  of the corpus, on the device; scales for int8 alone
    /// \param queries       [num_queries, width] on the host, up to max_queries, rounded as topk.h says
    /// \param filter        a bit a row, on the device: the searched ones
    Keys search(const DeviceBuffer& rows, const DeviceBuffer& scales, const float* queries, std::size_t num_queries,
                std::size_t k, const DeviceBuffer& filter, const ChooseKeys& choose);

  private:
    Corpus shape_;
    int device_;
    std::size_t max_queries_;
    DeviceBuffer queries_, floors_, flag_, group_keys_, row_keys_;
};

}  // namespace harken::cuda

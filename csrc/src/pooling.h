/// \file
/// From packed hidden states to one vector a sequence: final norm, pooling, head and unit length.
///
///     h[n] = rms_norm(hidden[n])      p[b] = mean of h[n] over the rows of b that the recipe pools
///     y[b] = layer_norm(W p[b]) or W p[b] + c     and, where asked, p before the head and y after it divided by their length
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "bundle.h"
#include "layers.h"

namespace harken {

/// Vectors shorter than this are divided by it.
inline constexpr float kMinNorm = 1e-12f;

/// The projection of one side.
class PoolHead {
  public:
    /// \throws Error  HARKEN_FILE_FORMAT_ERROR: a tensor of the head is missing or misshapen
    PoolHead(const Bundle& bundle, const std::string& name);

    [[nodiscard]] std::size_t dim() const noexcept { return linear_.num_out; }
    [[nodiscard]] const PackedMatrix& weights() const noexcept { return linear_; }
    [[nodiscard]] const std::optional<LayerNorm>& norm() const noexcept { return norm_; }
    /// y [num_rows, dim] of x [num_rows, width]
    void run(const float* x, std::size_t num_rows, float* y, ThreadPool& pool) const;

  private:
    PackedMatrix linear_;
    std::optional<LayerNorm> norm_;
};

struct RowRange {
    std::size_t first, end;
};

/// Rows of x are divided by their length, no less than kMinNorm.
void normalize_rows(float* x, std::size_t num_rows, std::size_t width) noexcept;

/// Vectors [ranges.size(), head dim or width] of hidden [rows, width].
/// \param ranges  the rows that each vector is the mean of, none empty
/// \param head    nullptr: the pooled state is the vector
void pool_vectors(const float* hidden, const std::vector<RowRange>& ranges, const RmsNorm& norm, const PoolHead* head,
                  const Recipe& recipe, float* vectors, ThreadPool& pool);

}  // namespace harken

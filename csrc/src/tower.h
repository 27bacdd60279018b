/// \file
/// The Whisper-type audio towers of Qwen2-Audio and Qwen2.5-Omni, over packed frames.
///
///     conv1 (3, stride 1) -> gelu -> conv2 (3, stride 2) -> gelu -> + positions
///     -> layers: attention inside a segment, gelu MLP -> mean of pairs -> norm -> projection
///
/// Qwen2-Audio has one segment a clip and reads two frames past its end; so a clip is never padded to 30 s. Qwen2.5-Omni cuts
/// a clip into segments that see zeros at their edges, restart their positions and attend within themselves. The same
/// rules as engine/models/whisper.py.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "buffer.h"
#include "bundle.h"
#include "layers.h"
#include "logmel.h"
#include "packed.h"

namespace harken {

/// Stands for a row of zeros.
inline constexpr std::size_t kNoRow = std::numeric_limits<std::size_t>::max();

class Tower {
  public:
    explicit Tower(const Bundle& bundle);

    [[nodiscard]] int sample_rate_hz() const noexcept { return logmel_.spec().sample_rate_hz; }
    [[nodiscard]] std::size_t out_width() const noexcept { return config_.projects ? proj_.num_out : config_.width; }
    /// Audio tokens of a clip; 0 for clips of one or two frames.
    [[nodiscard]] std::size_t num_tokens(std::size_t num_samples) const;

    /// Audio tokens of clips end to end, [sum of num_tokens, out_width].
    /// \param clips  each of 1 or more samples at sample_rate_hz
    [[nodiscard]] Buffer<float> encode(const std::vector<std::span<const float>>& clips, ThreadPool& pool) const;

    /// Which rows each step reads. Segments lie in the order of their clips.
    struct Plan {
        std::vector<std::size_t> first_frame;   ///< of each clip, and the end
        std::vector<std::size_t> conv1, conv2;  ///< three rows a row, kNoRow for zeros
        std::vector<std::size_t> position;      ///< of every row after conv2
        std::vector<std::size_t> lengths;       ///< of the segments
        std::vector<std::size_t> pairs;         ///< first row of every pair that is averaged
    };
    [[nodiscard]] Plan plan(const std::vector<std::span<const float>>& clips) const;
    /// Log-mel features of the clips end to end, [frames, mels].
    [[nodiscard]] Buffer<float> frames(const std::vector<std::span<const float>>& clips, const Plan& plan,
                                       ThreadPool& pool) const;

    // What a tower is made of.
    struct Layer {
        LayerNorm norm1, norm2;
        PackedMatrix qkv, out, fc1, fc2;
    };
    [[nodiscard]] const TowerConfig& config() const noexcept { return config_; }
    [[nodiscard]] const PackedMatrix& conv1() const noexcept { return conv1_; }
    [[nodiscard]] const PackedMatrix& conv2() const noexcept { return conv2_; }
    [[nodiscard]] const PackedMatrix& projection() const noexcept { return proj_; }
    [[nodiscard]] const float* positions() const noexcept { return positions_; }
    [[nodiscard]] const std::vector<Layer>& layers() const noexcept { return layers_; }
    [[nodiscard]] const LayerNorm& norm() const noexcept { return norm_; }

  private:
    void run_layers(Buffer<float>& x, const Segments& segments, ThreadPool& pool) const;

    TowerConfig config_;
    LogMel logmel_;
    PackedMatrix conv1_, conv2_, proj_;
    const float* positions_;
    std::vector<Layer> layers_;
    LayerNorm norm_;
};

}  // namespace harken

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
#include <span>
#include <vector>

#include "buffer.h"
#include "bundle.h"
#include "layers.h"
#include "logmel.h"
#include "packed.h"

namespace harken {

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

  private:
    struct Layer {
        LayerNorm norm1, norm2;
        PackedMatrix qkv, out, fc1, fc2;
    };
    struct Plan;

    Plan plan(const std::vector<std::span<const float>>& clips) const;
    Buffer<float> frames(const std::vector<std::span<const float>>& clips, const Plan& plan, ThreadPool& pool) const;
    void run_layers(Buffer<float>& x, const Segments& segments, ThreadPool& pool) const;

    TowerConfig config_;
    LogMel logmel_;
    PackedMatrix conv1_, conv2_, proj_;
    const float* positions_;
    std::vector<Layer> layers_;
    LayerNorm norm_;
};

}  // namespace harken

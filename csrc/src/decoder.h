/// \file
/// A Llama or Qwen2 decoder over packed sequences, without a language head.
///
///     x += o(attention(rotary(q), rotary(k), v)),  q k v = split(qkv(norm1(x)))
///     x += down(silu(gate) * up),                  gate up = split(gate_up(norm2(x)))
///
/// The final norm belongs to the pooling. Positions restart in every sequence; with sound and text only, Qwen2.5-Omni's three
/// rotary axes are equal, so plain rotary is exact.
#pragma once

#include <cstddef>
#include <vector>

#include "buffer.h"
#include "bundle.h"
#include "layers.h"
#include "packed.h"

namespace harken {

/// How far the halves of a head are turned at each position.
/// \param cosines,sines  [num_positions, head_width / 2]
void rotary_tables(const DecoderConfig& config, std::size_t num_positions, float* cosines, float* sines);

class Decoder {
  public:
    explicit Decoder(const Bundle& bundle);

    [[nodiscard]] const DecoderConfig& config() const noexcept { return config_; }
    /// The embedding of a token; id < vocab_size.
    void embed(std::size_t id, float* out) const { embeddings_.copy_row(id, out); }

    /// Run the layers on rows x [segments.num_rows(), width], which are used up.
    /// \param last_only  give back only each sequence's last row
    /// \returns [num_rows, width], or [segments.size(), width], before the final norm
    [[nodiscard]] Buffer<float> run(Buffer<float> x, const Segments& segments, bool causal, bool last_only,
                                    ThreadPool& pool) const;

    /// The final norm.
    [[nodiscard]] const RmsNorm& norm() const noexcept { return norm_; }

    // What a decoder is made of.
    struct Layer {
        RmsNorm norm1, norm2;
        PackedMatrix qkv, o, gate_up, down;
    };
    [[nodiscard]] const std::vector<Layer>& layers() const noexcept { return layers_; }
    [[nodiscard]] const Table& embeddings() const noexcept { return embeddings_; }

  private:
    struct Scratch;

    void finish(const Layer& layer, const float* attended, std::size_t num_rows, float* x, Scratch& scratch,
                ThreadPool& pool) const;
    void rotate(float* qkv, const Segments& segments, const Scratch& scratch, ThreadPool& pool) const;

    DecoderConfig config_;
    Table embeddings_;
    std::vector<Layer> layers_;
    RmsNorm norm_;
};

}  // namespace harken

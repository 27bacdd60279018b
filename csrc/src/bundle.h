/// \file
/// A bundle folder, as engine/export/bundle.py writes it (csrc/BUNDLE.md): sizes, recipe, and tensors in place.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "json.h"
#include "linear.h"
#include "recipe.h"
#include "safetensors.h"

namespace harken {

struct TowerConfig {
    std::string front_end;
    std::size_t width = 0, num_layers = 0, num_heads = 0, mlp_width = 0, max_positions = 0;
    std::size_t max_samples = 0;  ///< where the features' transform ends
    std::size_t window = 0;       ///< frames a segment; 0: one segment a clip
    float norm_eps = 1e-5f;
    bool projects = false;  ///< a linear layer of the tower's own after its norm
};

struct DecoderConfig {
    std::size_t width = 0, num_layers = 0, num_heads = 0, num_kv_heads = 0, head_width = 0, mlp_width = 0, vocab_size = 0;
    float rms_eps = 1e-6f;
    double rope_theta = 1e4;
};

/// Rows that are looked up, in the dtype of the bundle.
struct Table {
    DType dtype = DType::float32;
    const void* rows = nullptr;
    const float* scales = nullptr;  ///< [num_rows], int8 only
    std::size_t num_rows = 0, width = 0;

    /// One row as float32; row < num_rows.
    void copy_row(std::size_t row, float* out) const;
};

/// Thread safety: any number of readers.
class Bundle {
  public:
    /// \throws Error  HARKEN_IO_ERROR, HARKEN_FILE_FORMAT_ERROR: no bundle, or a damaged one; HARKEN_MODEL_ERROR: one that
    ///                this version does not know
    explicit Bundle(const std::string& folder);

    TowerConfig tower;
    DecoderConfig decoder;
    bool projects = false;  ///< a linear layer from tower to decoder
    std::size_t audio_token_id = 0;
    std::size_t dim = 0;  ///< of a vector
    Recipe recipe;
    std::string fingerprint;  ///< 12 hex digits
    std::string tokenizer_path;

    /// A linear layer [num_out, num_in].
    /// \throws Error  HARKEN_FILE_FORMAT_ERROR: a tensor is missing, misshapen, or of another dtype
    [[nodiscard]] PackedMatrix matrix(const std::string& name, std::size_t num_out, std::size_t num_in) const;
    /// float32 numbers [n], or [n, m] as n * m.
    [[nodiscard]] const float* numbers(const std::string& name, std::size_t n, std::optional<std::size_t> m = {}) const;
    [[nodiscard]] Table table(const std::string& name, std::size_t num_rows, std::size_t width) const;
    [[nodiscard]] bool has(const std::string& name) const { return weights_.has(name); }
    [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

  private:
    Bundle(const std::string& folder, const Json& manifest);
    const TensorView& shaped(const std::string& name, const std::vector<std::int64_t>& shape) const;

    std::string folder_;
    SafetensorsFile weights_;
};

}  // namespace harken

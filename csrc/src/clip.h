/// \file
/// A sound ready for the tower: checked, at the model's rate, of an allowed length, cut into windows.
/// The same rules as engine/audio/load.py, with another resampler.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "recipe.h"

namespace harken {

/// Rates outside these are a broken header, not a recording.
inline constexpr std::uint32_t kMinRateHz = 1'000, kMaxRateHz = 768'000;

/// \param samples  mono, full scale is 1
/// \param name     what errors call the sound
/// \returns the sound at rate_hz, at most max_audio_s long unless it is to be cut into windows, at least min_audio_s
/// \throws Error   HARKEN_AUDIO_ERROR: empty, not finite, an absurd rate, longer than the recipe allows
[[nodiscard]] std::vector<float> prepare_clip(std::span<const float> samples, std::uint32_t sample_rate_hz,
                                              std::uint32_t rate_hz, const Recipe& recipe, const std::string& name);

/// Consecutive windows of max_audio_s; the last one holds what is left.
[[nodiscard]] std::vector<std::span<const float>> cut_windows(std::span<const float> samples, std::uint32_t rate_hz,
                                                              const Recipe& recipe);

}  // namespace harken

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
/// \returns the sound at rate_hz, at least min_audio_s and at most max_audio_s long; one that is to be cut into windows whole,
///          but for its silences where the recipe drops them
/// \throws Error   HARKEN_AUDIO_ERROR: empty, not finite, an absurd rate, longer than the recipe allows
[[nodiscard]] std::vector<float> prepare_clip(std::span<const float> samples, std::uint32_t sample_rate_hz,
                                              std::uint32_t rate_hz, const Recipe& recipe, const std::string& name);

/// A sound without its long silences: runs of frames of 20 ms that stay silence_db below the loudest one, and together last
/// longer than silence_s. The same rules as engine/audio/segment.py.
[[nodiscard]] std::vector<float> drop_silences(std::vector<float> samples, std::uint32_t rate_hz, double silence_db,
                                               double silence_s);

/// Consecutive windows of max_audio_s; the last one holds what is left.
[[nodiscard]] std::vector<std::span<const float>> cut_windows(std::span<const float> samples, std::uint32_t rate_hz,
                                                              const Recipe& recipe);

}  // namespace harken

/// \file
/// Sound files: WAV (and its kin RF64, W64, AIFF) and FLAC. A damaged file is an error, never the part of it that could be read.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace harken {

struct Sound {
    std::vector<float> samples;  ///< mono: the mean of the channels; full scale is 1
    int rate_hz = 0;
};

/// \throws Error  HARKEN_IO_ERROR: cannot be opened; HARKEN_AUDIO_ERROR: no such sound, truncated, empty, not finite, a
///                rate outside 1 to 768 kHz, more than 2^30 samples
[[nodiscard]] Sound read_sound(const std::string& path);
/// \param name  what errors call the bytes
[[nodiscard]] Sound read_sound(std::span<const std::byte> bytes, const std::string& name);

}  // namespace harken

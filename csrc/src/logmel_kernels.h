/// \file
/// The inner loop of log-mel, one table an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace harken {

/// A front end's constants, in plain arrays.
struct MelTables {
    std::size_t n_fft, hop_length, num_mels;
    const float* window;  // [n_fft]
    // The transform of n_fft/2 complex numbers: radix of each stage, and its twiddles cos, sin [num_points / radix, radix].
    std::size_t num_stages;
    const std::size_t* radix;
    const float* const* twiddles;
    // cos and -sin of 2 pi k / n_fft, [n_fft / 4 + 1] pairs: they part a real transform from the complex one.
    const float* split;
    // Of each mel bin: its first power bin, one past its last, and its weights, which follow the weights before.
    const std::uint16_t* first_bin;
    const std::uint16_t* last_bin;
    const float* weights;
    // y = log_gain * log10(max(mel, floor))
    float floor, log_gain;
};

struct LogMelKernels {
    const char* name;
    // Frames computed together.
    std::size_t num_frames;
    // Floats of scratch memory, aligned to 64 bytes.
    std::size_t (*scratch_size)(const MelTables& tables);
    // y of num_frames frames, the first of which begins at samples; out: [num_frames, num_mels].
    // Gives the largest y of the first num_counted frames.
    float (*frames)(const MelTables& tables, const float* samples, std::size_t num_counted, float* out, float* scratch);
};

extern const LogMelKernels kLogMelScalar;
#if defined(__x86_64__)
extern const LogMelKernels kLogMelAvx2;
extern const LogMelKernels kLogMelAvx512;
#endif

/// The table of the instruction set in use (isa.h).
const LogMelKernels& logmel_kernels() noexcept;

}  // namespace harken

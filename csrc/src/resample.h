/// \file
/// Change of sample rate by a polyphase windowed-sinc filter, linear phase and without delay.
///
///     y[j] = sum_i x[i] h(j from/to - i),   h(t) = c sinc(c t) kaiser(t / half_width),   c = 0.9565 min(1, to/from)
///
/// The Kaiser window is that of 120 dB. Of the lower Nyquist frequency, the pass band ends at 91.3 % and the stop band begins
/// at 100 %, the figures of soxr's HQ. Outside the clip there is silence.
/// Source: own; Kaiser 1974 on window and number of taps.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "buffer.h"

namespace harken {

/// The filter between two rates. Thread safety: any number of calls at once.
class Resampler {
  public:
    /// \throws Error  HARKEN_INVALID_ARGUMENT: a rate outside 1 to 768 kHz
    Resampler(int from_hz, int to_hz);

    /// num_samples * to / from, rounded half up.
    [[nodiscard]] std::size_t num_out(std::size_t num_samples) const noexcept;
    /// \param out  [num_out(in.size())]
    void process(std::span<const float> in, float* out) const;

  private:
    void process_phases(const float* padded, std::size_t num_out, float* out) const;
    void process_between(const float* padded, std::size_t num_out, float* out) const;
    [[nodiscard]] double filter(double t) const;

    // to / from in lowest terms.
    std::size_t up_ = 1, down_ = 1;
    // Taps of a phase, and how many of them lie before the output's place.
    std::size_t num_taps_ = 0, num_before_ = 0;
    double cutoff_ = 1, half_width_ = 1;
    // Phases in the table: up_, or fewer and those between are found by a straight line.
    std::size_t num_phases_ = 1;
    Buffer<float> taps_;  // [num_phases (+ 1 where lines are drawn), num_taps]
};

/// One call: samples at another rate; at the same rate they come back as they are.
[[nodiscard]] std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz);

}  // namespace harken

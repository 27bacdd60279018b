/// \file
/// Change of sample rate by a polyphase windowed-sinc filter, linear phase and without delay.
///
///     y[j] = sum_i x[i] h(j from/to - i),   h(t) = c sinc(c t) kaiser(t / half_width),   c = min(1, to/from) * pass edge
///
/// Kaiser window for 100 dB; the pass band ends at 91.3 % of the lower Nyquist frequency, the stop band begins at it (the
/// figures of soxr's HQ). Outside the clip there is silence.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace harken {

/// The filter between two rates. Thread safety: any number of calls at once.
class Resampler {
  public:
    /// \throws Error  HARKEN_INVALID_ARGUMENT: a rate outside 1..1,000,000 Hz
    Resampler(int from_hz, int to_hz);

    /// round(n * to / from), half up.
    [[nodiscard]] std::size_t num_out(std::size_t num_samples) const noexcept;
    /// \param out  [num_out(in.size())]
    void process(std::span<const float> in, float* out) const;

  private:
    int up_ = 1, down_ = 1;            // to / from in lowest terms
    std::size_t num_taps_ = 0;         // of one phase
    std::ptrdiff_t first_offset_ = 0;  // of the first tap, from floor(j * down / up)
    std::vector<float> taps_;          // [up, num_taps]
};

/// One call: samples at another rate; at the same rate they come back as they are.
[[nodiscard]] std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz);

}  // namespace harken

/// \file
/// Log-mel features of one clip, exactly as if it were padded as its model was trained.
///
///     frame t sees samples p = t * hop - n_fft/2 ... + n_fft, at place fold(p, L) of the clip, 0 from n on:
///         fold(p, L) = p mirrored at 0 and at L - 1     L = n (reflect), or the cap (zeros: silence follows the clip)
///     power = |DFT(window * samples)|^2;   mel = power @ filters
///     y = (max(log_gain * log10(max(mel, floor)), clip maximum - max_range) + shift) / divisor
///
/// With zeros a clip has T = ceil(n / hop) frames, and its maximum runs over every frame that holds signal, of which one or
/// two lie past T. The same rules as kernels/logmel.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "threads.h"

namespace harken {

enum class MelScale { slaney, htk };
enum class RightEdge { zeros, reflect };

/// One front end.
struct MelSpec {
    std::string name;
    int sample_rate_hz = 16000;
    int n_fft = 400;       ///< a multiple of 16 up to 4096, whose half is 2^a * 5^b
    int win_length = 400;  ///< of the periodic Hann window, centred in n_fft samples
    int hop_length = 160;
    int num_mels = 128;
    double f_min_hz = 0.0;
    double f_max_hz = 8000.0;
    MelScale mel_scale = MelScale::slaney;
    bool mel_norm = true;  ///< every triangle has the same area (slaney); false: the same height
    RightEdge right_edge = RightEdge::zeros;
    double floor = 1e-10;    ///< smallest mel power that is told from silence
    double log_gain = 1.0;   ///< 1 for log10, 10 for decibels
    double max_range = 8.0;  ///< how far below the clip's maximum a value may lie; infinity: no bound
    double shift = 4.0;
    double divisor = 4.0;
};

/// "whisper-128", "whisper-80", "dasheng-64" or "htsat-64".
/// \throws Error  HARKEN_INVALID_ARGUMENT: another name
[[nodiscard]] MelSpec mel_spec(std::string_view name);

/// [n_fft] the periodic Hann window, with zeros on either side of win_length.
[[nodiscard]] std::vector<double> hann_window(const MelSpec& spec);

/// [n_fft / 2 + 1, num_mels] the weight of every power bin in every mel bin.
[[nodiscard]] std::vector<double> mel_filters(const MelSpec& spec);

/// What becomes of a clip, in samples and frames.
struct ClipFrames {
    std::size_t num_samples;  ///< that count
    std::size_t fold;         ///< where samples are mirrored on the right
    std::size_t num_frames;   ///< that hold signal
    std::size_t num_rows;     ///< given back: these and the extra ones
    std::size_t num_work;     ///< computed: the clip's maximum runs over these
};

/// Window, filters and transform of one spec.
///
/// Thread safety: any number of calls at once.
class LogMel {
  public:
    /// As max_samples: no sample is cut off, and the silence after a clip is endless.
    static constexpr std::size_t no_cap = std::numeric_limits<std::size_t>::max();

    /// \throws Error  HARKEN_INVALID_ARGUMENT: a field that cannot be
    explicit LogMel(const MelSpec& spec);
    LogMel(LogMel&&) noexcept;
    LogMel& operator=(LogMel&&) noexcept;
    ~LogMel();

    [[nodiscard]] const MelSpec& spec() const noexcept;

    /// Frames that hold signal, of a clip of n samples cut at max_samples.
    [[nodiscard]] std::size_t num_frames(std::size_t num_samples, std::size_t max_samples = no_cap) const;
    /// The same and up to extra_frames of the silence that follows, as far as the cap goes.
    [[nodiscard]] std::size_t num_rows(std::size_t num_samples, std::size_t extra_frames,
                                       std::size_t max_samples = no_cap) const;

    /// All of its lengths.
    /// \throws Error  as compute
    [[nodiscard]] ClipFrames frames(std::size_t num_samples, std::size_t extra_frames, std::size_t max_samples) const;

    /// \param samples  at spec().sample_rate_hz, 1 or more, finite (what is not makes NaN)
    /// \param out      [num_rows, num_mels]
    /// \param pool     shares the frames out; nullptr: the calling thread computes them all. The answer is the same
    /// \throws Error   HARKEN_AUDIO_ERROR: no sample; HARKEN_INVALID_ARGUMENT: extra frames where the clip is mirrored, a cap
    ///                 of half a window or less
    void compute(std::span<const float> samples, float* out, std::size_t extra_frames = 0,
                 std::size_t max_samples = no_cap, ThreadPool* pool = nullptr) const;

    /// Several clips that lie end to end, shared out to the threads.
    /// \param starts  [num_clips + 1] the first sample of each clip, and the end
    /// \param out     the clips' rows, end to end
    void compute_all(const float* samples, std::span<const std::int64_t> starts, float* out, std::size_t extra_frames,
                     std::size_t max_samples, ThreadPool& pool) const;

  private:
    struct Plan;
    std::unique_ptr<const Plan> plan_;
};

/// Place of the first NaN or infinity, or the number of samples.
[[nodiscard]] std::size_t first_not_finite(std::span<const float> samples) noexcept;

}  // namespace harken

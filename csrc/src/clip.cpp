#include "clip.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "error.h"
#include "resample.h"

namespace harken {
namespace {

// Read past the cut, so that the resampler sees what follows it.
constexpr double kMarginS = 0.25;
constexpr double kSilenceFrameS = 0.02;

std::size_t samples_of(double seconds, std::uint32_t rate_hz) {
    return static_cast<std::size_t>(std::nearbyint(seconds * rate_hz));
}

void check(std::span<const float> samples, std::uint32_t rate_hz, const std::string& name) {
    if (rate_hz < kMinRateHz || rate_hz > kMaxRateHz)
        throw Error(HARKEN_AUDIO_ERROR, name + ": sample rate is " + std::to_string(rate_hz) +
                                            " Hz; wanted 1000 to 768000 Hz");
    if (samples.empty()) throw Error(HARKEN_AUDIO_ERROR, name + ": holds no samples; wanted at least one");
    for (std::size_t i = 0; i < samples.size(); ++i)
        if (!std::isfinite(samples[i]))
            throw Error(HARKEN_AUDIO_ERROR, name + ": sample " + std::to_string(i) + " is " + std::to_string(samples[i]) +
                                                "; wanted real numbers only");
}

}  // namespace

std::vector<float> prepare_clip(std::span<const float> samples, std::uint32_t sample_rate_hz, std::uint32_t rate_hz,
                                const Recipe& recipe, const std::string& name) {
    const bool whole = recipe.long_audio == LongAudio::window_mean;
    if (!whole && sample_rate_hz >= kMinRateHz && sample_rate_hz <= kMaxRateHz) {
        if (recipe.long_audio == LongAudio::error && samples.size() > samples_of(recipe.max_audio_s, sample_rate_hz))
            throw Error(HARKEN_AUDIO_ERROR, name + ": lasts longer than the " + std::to_string(recipe.max_audio_s) +
                                                " s allowed; wanted a shorter sound");
        samples = samples.first(std::min(samples.size(), samples_of(recipe.max_audio_s + kMarginS, sample_rate_hz)));
    }
    check(samples, sample_rate_hz, name);
    std::vector<float> clip =
        sample_rate_hz == rate_hz
            ? std::vector<float>(samples.begin(), samples.end())
            : resample(samples, static_cast<int>(sample_rate_hz), static_cast<int>(rate_hz));
    if (clip.empty()) throw Error(HARKEN_AUDIO_ERROR, name + ": is shorter than one sample at " + std::to_string(rate_hz) + " Hz");
    if (!whole) clip.resize(std::min(clip.size(), std::max<std::size_t>(1, samples_of(recipe.max_audio_s, rate_hz))));
    clip.resize(std::max(clip.size(), samples_of(recipe.min_audio_s, rate_hz)));
    if (recipe.silence_db && static_cast<double>(clip.size()) / rate_hz > recipe.max_audio_s)
        return drop_silences(std::move(clip), rate_hz, *recipe.silence_db, recipe.silence_s);
    return clip;
}

std::vector<float> drop_silences(std::vector<float> samples, std::uint32_t rate_hz, double silence_db, double silence_s) {
    const std::size_t size = std::max<std::size_t>(1, samples_of(kSilenceFrameS, rate_hz));
    std::vector<double> power;
    for (std::size_t first = 0; first < samples.size(); first += size) {
        const std::size_t end = std::min(samples.size(), first + size);
        double sum = 0;
        for (std::size_t i = first; i < end; ++i) sum += static_cast<double>(samples[i]) * samples[i];
        power.push_back(sum / static_cast<double>(end - first));
    }
    if (power.empty()) return samples;
    const double loud = *std::max_element(power.begin(), power.end()) * std::pow(10, -silence_db / 10);
    std::size_t kept = 0;
    for (std::size_t run = 0, next; run < power.size(); run = next) {
        const bool silent = power[run] < loud;
        for (next = run + 1; next < power.size() && (power[next] < loud) == silent;) ++next;
        const std::size_t first = run * size, end = std::min(samples.size(), next * size);
        if (silent && static_cast<double>(end - first) > silence_s * rate_hz) continue;
        std::copy(samples.begin() + static_cast<std::ptrdiff_t>(first), samples.begin() + static_cast<std::ptrdiff_t>(end),
                  samples.begin() + static_cast<std::ptrdiff_t>(kept));
        kept += end - first;
    }
    samples.resize(kept);
    return samples;
}

std::vector<std::span<const float>> cut_windows(std::span<const float> samples, std::uint32_t rate_hz, const Recipe& recipe) {
    const std::size_t size = std::max<std::size_t>(1, samples_of(recipe.max_audio_s, rate_hz));
    std::vector<std::span<const float>> windows;
    for (std::size_t first = 0; first < samples.size(); first += size)
        windows.push_back(samples.subspan(first, std::min(size, samples.size() - first)));
    return windows;
}

}  // namespace harken

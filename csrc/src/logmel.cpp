#include "logmel.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "buffer.h"
#include "error.h"
#include "isa.h"
#include "logmel_kernels.h"

namespace harken {
namespace {

// Frames shared out at a time.
constexpr std::size_t kPieceFrames = 128;

double to_mel(double hz, MelScale scale) {
    if (scale == MelScale::htk) return 2595.0 * std::log10(1.0 + hz / 700.0);
    return hz < 1000.0 ? hz * 3 / 200 : 15.0 + 27.0 / std::log(6.4) * std::log(hz / 1000.0);
}

double to_hz(double mel, MelScale scale) {
    if (scale == MelScale::htk) return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
    return mel < 15.0 ? mel * 200 / 3 : 1000.0 * std::exp(std::log(6.4) / 27.0 * (mel - 15.0));
}

/// The sample that position p of the padded clip shows.
float sample_at(std::ptrdiff_t p, const float* samples, const ClipFrames& lengths) {
    std::size_t place = static_cast<std::size_t>(std::abs(p));
    if (place >= lengths.fold) {
        const std::size_t period = std::max<std::size_t>(1, 2 * (lengths.fold - 1));
        place %= period;
        if (place >= lengths.fold) place = period - place;
    }
    return place < lengths.num_samples ? samples[place] : 0.0f;
}

}  // namespace

const LogMelKernels& logmel_kernels() noexcept {
#if defined(__x86_64__)
    static const LogMelKernels& best = cpu_isa() == Isa::avx512 ? kLogMelAvx512
                                       : cpu_isa() == Isa::avx2 ? kLogMelAvx2
                                                                : kLogMelScalar;
    return best;
#else
    return kLogMelScalar;
#endif
}

MelSpec mel_spec(std::string_view name) {
    MelSpec spec;
    spec.name = name;
    if (name == "whisper-128") return spec;
    if (name == "whisper-80") {
        spec.num_mels = 80;
        return spec;
    }
    spec.num_mels = 64;
    spec.right_edge = RightEdge::reflect;
    spec.log_gain = 10.0;
    spec.shift = 0.0;
    spec.divisor = 1.0;
    if (name == "dasheng-64") {
        spec.n_fft = spec.win_length = 512;
        spec.mel_scale = MelScale::htk;
        spec.mel_norm = false;
        spec.max_range = 120.0;
        return spec;
    }
    if (name == "htsat-64") {
        spec.sample_rate_hz = 48000;
        spec.n_fft = spec.win_length = 1024;
        spec.hop_length = 480;
        spec.f_min_hz = 50.0;
        spec.f_max_hz = 14000.0;
        spec.max_range = std::numeric_limits<double>::infinity();
        return spec;
    }
    throw Error(HARKEN_INVALID_ARGUMENT, "mel_spec: no front end is called " + std::string(name) +
                                             "; wanted whisper-128, whisper-80, dasheng-64 or htsat-64");
}

std::vector<double> hann_window(const MelSpec& spec) {
    const std::size_t n = static_cast<std::size_t>(spec.n_fft), length = static_cast<std::size_t>(spec.win_length);
    std::vector<double> window(n, 0.0);
    for (std::size_t i = 0; i < length; ++i)
        window[(n - length) / 2 + i] =
            0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(length));
    return window;
}

std::vector<double> mel_filters(const MelSpec& spec) {
    const int num_bins = spec.n_fft / 2 + 1, num_mels = spec.num_mels;
    const double low = to_mel(spec.f_min_hz, spec.mel_scale), high = to_mel(spec.f_max_hz, spec.mel_scale);
    std::vector<double> corners;
    for (int i = 0; i < num_mels + 2; ++i)
        corners.push_back(to_hz(low + (high - low) * i / (num_mels + 1), spec.mel_scale));
    std::vector<double> filters;
    for (int k = 0; k < num_bins; ++k)
        for (int m = 0; m < num_mels; ++m) {
            const double left = corners[m], middle = corners[m + 1], right = corners[m + 2];
            const double norm = spec.mel_norm ? 2 / (right - left) : 1;
            const double hz = spec.sample_rate_hz / 2.0 * k / (num_bins - 1);
            const double weight = norm * std::min((hz - left) / (middle - left), (right - hz) / (right - middle));
            filters.push_back(std::max(weight, 0.0));
        }
    return filters;
}

struct LogMel::Plan {
    MelSpec spec;
    Buffer<float> window;
    std::vector<std::size_t> radix;
    std::vector<std::vector<float>> twiddles;
    std::vector<const float*> twiddle_starts;
    std::vector<float> split, weights;
    std::vector<std::uint16_t> first_bin, last_bin;
    MelTables tables{};

    explicit Plan(const MelSpec& wanted) : spec(wanted) {
        check();
        make_window();
        make_transform();
        make_filters();
        tables = {static_cast<std::size_t>(spec.n_fft),
                  static_cast<std::size_t>(spec.hop_length),
                  static_cast<std::size_t>(spec.num_mels),
                  window.data(),
                  radix.size(),
                  radix.data(),
                  twiddle_starts.data(),
                  split.data(),
                  first_bin.data(),
                  last_bin.data(),
                  weights.data(),
                  static_cast<float>(spec.floor),
                  static_cast<float>(spec.log_gain)};
    }

    [[noreturn]] void refuse(const std::string& why) const {
        throw Error(HARKEN_INVALID_ARGUMENT, "LogMel " + spec.name + ": " + why);
    }

    void check() const {
        int half = spec.n_fft / 2;
        while (half > 0 && half % 2 == 0) half /= 2;
        while (half > 0 && half % 5 == 0) half /= 5;
        if (spec.n_fft < 16 || spec.n_fft > 4096 || spec.n_fft % 16 != 0 || half != 1)
            refuse("n_fft must be a multiple of 16 up to 4096 whose half is 2^a 5^b, got " +
                   std::to_string(spec.n_fft));
        if (spec.win_length < 1 || spec.win_length > spec.n_fft)
            refuse("win_length must be 1.." + std::to_string(spec.n_fft) + ", got " + std::to_string(spec.win_length));
        if (spec.hop_length < 1 || spec.hop_length > spec.n_fft)
            refuse("hop_length must be 1.." + std::to_string(spec.n_fft) + ", got " + std::to_string(spec.hop_length));
        if (spec.num_mels < 1 || spec.num_mels > 4096)
            refuse("num_mels must be 1..4096, got " + std::to_string(spec.num_mels));
        if (!(spec.f_min_hz >= 0 && spec.f_min_hz < spec.f_max_hz && spec.f_max_hz <= spec.sample_rate_hz / 2.0))
            refuse("f_min_hz and f_max_hz must rise from 0 to half the sample rate");
        // Smaller powers are no normal numbers, which the logarithm takes for granted.
        if (!(spec.floor >= 1e-30) || !(spec.divisor != 0)) refuse("floor must be at least 1e-30 and divisor not 0");
    }

    void make_window() {
        const std::vector<double> exact = hann_window(spec);
        window = Buffer<float>(exact.size());
        std::copy(exact.begin(), exact.end(), window.data());
    }

    void make_transform() {
        std::size_t num_points = static_cast<std::size_t>(spec.n_fft) / 2;
        while (num_points > 1) {
            const std::size_t r = num_points % 4 == 0 ? 4 : num_points % 2 == 0 ? 2 : 5;
            std::vector<float>& t = twiddles.emplace_back();
            for (std::size_t p = 0; p < num_points / r; ++p)
                for (std::size_t k = 0; k < r; ++k) {
                    const double angle =
                        -2 * std::numbers::pi * static_cast<double>(p * k) / static_cast<double>(num_points);
                    t.push_back(static_cast<float>(std::cos(angle)));
                    t.push_back(static_cast<float>(std::sin(angle)));
                }
            radix.push_back(r);
            num_points /= r;
        }
        for (const std::vector<float>& t : twiddles) twiddle_starts.push_back(t.data());
        for (int k = 0; k <= spec.n_fft / 4; ++k) {
            const double angle = -2 * std::numbers::pi * k / spec.n_fft;
            split.push_back(static_cast<float>(std::cos(angle)));
            split.push_back(static_cast<float>(std::sin(angle)));
        }
    }

    void make_filters() {
        const int num_bins = spec.n_fft / 2 + 1;
        const std::vector<double> filters = mel_filters(spec);
        for (int m = 0; m < spec.num_mels; ++m) {
            int first = num_bins, last = 0;
            std::vector<float> row;
            for (int k = 0; k < num_bins; ++k) {
                const double weight = filters[static_cast<std::size_t>(k) * spec.num_mels + m];
                if (weight <= 0) continue;
                first = std::min(first, k);
                last = k + 1;
                row.push_back(static_cast<float>(weight));
            }
            first_bin.push_back(static_cast<std::uint16_t>(std::min(first, last)));
            last_bin.push_back(static_cast<std::uint16_t>(last));
            weights.insert(weights.end(), row.begin(), row.end());
        }
    }

    ClipFrames lengths(std::size_t n, std::size_t extra_frames, std::size_t max_samples) const {
        const std::size_t hop = tables.hop_length, half = tables.n_fft / 2;
        if (max_samples <= half)
            refuse("max_samples must be over " + std::to_string(half) + ", got " + std::to_string(max_samples));
        n = std::min(n, max_samples);
        if (n == 0)
            throw Error(HARKEN_AUDIO_ERROR, "LogMel " + spec.name + ": the clip has no sample, wanted 1 or more");
        if (spec.right_edge == RightEdge::reflect) {
            if (extra_frames != 0)
                refuse("extra_frames must be 0, as clips are mirrored; got " + std::to_string(extra_frames));
            const std::size_t frames = 1 + n / hop;
            return {n, n, frames, frames, frames};
        }
        // Without a cap the silence is endless: mirrored farther out than any frame looks.
        const std::size_t cap = max_samples != no_cap ? max_samples : n + (extra_frames + 4) * hop + 2 * tables.n_fft;
        const std::size_t frames = std::min((n + hop - 1) / hop, cap / hop);
        const std::size_t rows = std::min(frames + extra_frames, cap / hop);
        const std::size_t work = std::min(std::max(rows, (n + half + hop - 1) / hop), cap / hop);
        return {n, cap, frames, rows, work};
    }

    /// Frames [first, last) into out, whose rows go up to num_rows; gives their largest value.
    float frames(const float* samples, const ClipFrames& clip, std::size_t first, std::size_t last, float* out) const {
        const LogMelKernels& kernels = logmel_kernels();
        const std::size_t group = kernels.num_frames, hop = tables.hop_length, half = tables.n_fft / 2,
                          mels = tables.num_mels;
        const std::size_t span = (group - 1) * hop + tables.n_fft;
        Buffer<float> scratch(kernels.scratch_size(tables)), edge(span), rows(group * mels);
        float largest = -std::numeric_limits<float>::infinity();
        for (std::size_t f = first; f < last; f += group) {
            const std::size_t count = std::min(group, last - f);
            const float* begin = edge.data();
            if (f * hop >= half && f * hop - half + span <= clip.num_samples) {
                begin = samples + (f * hop - half);
            } else {
                for (std::size_t i = 0; i < span; ++i)
                    edge[i] = sample_at(static_cast<std::ptrdiff_t>(f * hop + i) - static_cast<std::ptrdiff_t>(half),
                                        samples, clip);
            }
            const bool whole = f + group <= std::min(last, clip.num_rows);
            float* const to = whole ? out + f * mels : rows.data();
            largest = std::max(largest, kernels.frames(tables, begin, count, to, scratch.data()));
            if (!whole && f < clip.num_rows)
                std::copy_n(rows.data(), std::min(count, clip.num_rows - f) * mels, out + f * mels);
        }
        return largest;
    }

    void finish(float* values, std::size_t n, float largest) const {
        const float lowest = std::isinf(spec.max_range) ? -std::numeric_limits<float>::infinity()
                                                        : largest - static_cast<float>(spec.max_range);
        const float shift = static_cast<float>(spec.shift), factor = static_cast<float>(1 / spec.divisor);
        // In this order NaN stays NaN.
        for (std::size_t i = 0; i < n; ++i) values[i] = ((values[i] < lowest ? lowest : values[i]) + shift) * factor;
    }
};

LogMel::LogMel(const MelSpec& spec) : plan_(std::make_unique<const Plan>(spec)) {}
LogMel::LogMel(LogMel&&) noexcept = default;
LogMel& LogMel::operator=(LogMel&&) noexcept = default;
LogMel::~LogMel() = default;

const MelSpec& LogMel::spec() const noexcept { return plan_->spec; }

std::size_t LogMel::num_frames(std::size_t num_samples, std::size_t max_samples) const {
    return plan_->lengths(num_samples, 0, max_samples).num_frames;
}

std::size_t LogMel::num_rows(std::size_t num_samples, std::size_t extra_frames, std::size_t max_samples) const {
    return plan_->lengths(num_samples, extra_frames, max_samples).num_rows;
}

ClipFrames LogMel::frames(std::size_t num_samples, std::size_t extra_frames, std::size_t max_samples) const {
    return plan_->lengths(num_samples, extra_frames, max_samples);
}

void LogMel::compute(std::span<const float> samples, float* out, std::size_t extra_frames, std::size_t max_samples,
                     ThreadPool* pool) const {
    const ClipFrames clip = plan_->lengths(samples.size(), extra_frames, max_samples);
    std::atomic<float> largest{-std::numeric_limits<float>::infinity()};
    const auto part = [&](std::size_t begin, std::size_t end) {
        const float here = plan_->frames(samples.data(), clip, begin, end, out);
        for (float seen = largest.load(); here > seen && !largest.compare_exchange_weak(seen, here);) {
        }
    };
    const std::size_t mels = plan_->tables.num_mels;
    const auto last = [&](std::size_t begin, std::size_t end) {
        plan_->finish(out + begin * mels, (end - begin) * mels, largest);
    };
    if (pool != nullptr) {
        pool->parallel_for(clip.num_work, kPieceFrames, part);
        pool->parallel_for(clip.num_rows, kPieceFrames, last);
    } else {
        part(0, clip.num_work);
        last(0, clip.num_rows);
    }
}

void LogMel::compute_all(const float* samples, std::span<const std::int64_t> starts, float* out,
                         std::size_t extra_frames, std::size_t max_samples, ThreadPool& pool) const {
    const std::size_t num_clips = starts.empty() ? 0 : starts.size() - 1, mels = plan_->tables.num_mels;
    const auto length = [&](std::size_t clip) { return static_cast<std::size_t>(starts[clip + 1] - starts[clip]); };
    std::vector<std::size_t> rows(num_clips + 1, 0);
    for (std::size_t clip = 0; clip < num_clips; ++clip)
        rows[clip + 1] = rows[clip] + num_rows(length(clip), extra_frames, max_samples);
    ThreadPool* const within = num_clips == 1 ? &pool : nullptr;
    pool.parallel_for(num_clips, 1, [&](std::size_t clip, std::size_t) {
        compute({samples + starts[clip], length(clip)}, out + rows[clip] * mels, extra_frames, max_samples, within);
    });
}

std::size_t first_not_finite(std::span<const float> samples) noexcept {
    // All bits of the exponent are set; a block is looked at whole, which compilers do many at a time.
    constexpr std::uint32_t kExponent = 0x7f800000;
    constexpr std::size_t kBlock = 1024;
    for (std::size_t begin = 0; begin < samples.size(); begin += kBlock) {
        const std::span<const float> block = samples.subspan(begin, std::min(kBlock, samples.size() - begin));
        std::uint32_t found = 0;
        for (const float x : block) found |= (std::bit_cast<std::uint32_t>(x) & kExponent) == kExponent;
        if (!found) continue;
        const auto bad = std::find_if(block.begin(), block.end(), [](float x) { return !std::isfinite(x); });
        return begin + static_cast<std::size_t>(bad - block.begin());
    }
    return samples.size();
}

}  // namespace harken

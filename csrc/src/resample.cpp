#include "resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "error.h"
#include "topk_kernels.h"

namespace harken {
namespace {

constexpr double kAttenuationDb = 120, kPassEdge = 0.913, kStopEdge = 1.0;
constexpr int kMinRateHz = 1000, kMaxRateHz = 768000;
// Above this the table is one of fewer phases. A line between two of kLinePhases a sample of the lower rate is off by 1e-7.
constexpr std::size_t kMaxTable = std::size_t{1} << 20;
constexpr double kLinePhases = 2048;
// Taps are padded with zeros to whole registers, so that the products read samples where they lie.
constexpr std::size_t kTapsMultiple = 16;
// Outputs of one phase that are computed together.
constexpr std::size_t kRows = 2 * kTopkGroup;

/// The modified Bessel function I0, by its series: sum over k of ((x/2)^k / k!)^2.
double bessel_i0(double x) {
    const double squared = x * x / 4;
    double sum = 1, term = 1;
    for (double k = 1; term > sum * 1e-17; ++k) sum += term *= squared / (k * k);
    return sum;
}

}  // namespace

Resampler::Resampler(int from_hz, int to_hz) {
    for (const int rate : {from_hz, to_hz})
        if (rate < kMinRateHz || rate > kMaxRateHz)
            throw Error(HARKEN_INVALID_ARGUMENT, "Resampler: sample rate is " + std::to_string(rate) + " Hz; wanted " +
                                                     std::to_string(kMinRateHz) + " to " + std::to_string(kMaxRateHz) +
                                                     " Hz");
    const int divisor = std::gcd(from_hz, to_hz);
    up_ = static_cast<std::size_t>(to_hz / divisor);
    down_ = static_cast<std::size_t>(from_hz / divisor);
    const double ratio = std::min(1.0, static_cast<double>(to_hz) / from_hz);
    cutoff_ = ratio * (kPassEdge + kStopEdge) / 2;
    half_width_ = (kAttenuationDb - 7.95) / (2.285 * std::numbers::pi * (kStopEdge - kPassEdge)) / 2 / ratio;
    num_before_ = static_cast<std::size_t>(std::ceil(half_width_)) - 1;
    num_taps_ = (2 * num_before_ + 2 + kTapsMultiple - 1) / kTapsMultiple * kTapsMultiple;

    const bool lines = up_ * num_taps_ > kMaxTable;
    num_phases_ = lines ? static_cast<std::size_t>(std::ceil(kLinePhases * ratio)) : up_;
    taps_ = Buffer<float>((num_phases_ + lines) * num_taps_);
    std::vector<double> row(num_taps_);
    for (std::size_t p = 0; p < num_phases_ + lines; ++p) {
        const double phase = static_cast<double>(p) / static_cast<double>(num_phases_);
        double sum = 0;
        for (std::size_t i = 0; i < num_taps_; ++i)
            sum += row[i] = filter(phase + static_cast<double>(num_before_) - static_cast<double>(i));
        // A constant stays what it is.
        for (std::size_t i = 0; i < num_taps_; ++i) taps_[p * num_taps_ + i] = static_cast<float>(row[i] / sum);
    }
}

double Resampler::filter(double t) const {
    const double place = t / half_width_;
    if (std::fabs(place) >= 1) return 0;
    constexpr double beta = 0.1102 * (kAttenuationDb - 8.7);
    static const double at_centre = bessel_i0(beta);
    const double window = bessel_i0(beta * std::sqrt(1 - place * place)) / at_centre;
    const double x = std::numbers::pi * cutoff_ * t;
    return cutoff_ * (t == 0 ? 1 : std::sin(x) / x) * window;
}

std::size_t Resampler::num_out(std::size_t num_samples) const noexcept {
    // Whole periods apart, so that nothing overflows.
    const std::size_t whole = num_samples / down_, rest = num_samples % down_;
    return whole * up_ + (2 * rest * up_ + down_) / (2 * down_);
}

void Resampler::process(std::span<const float> in, float* out) const {
    if (up_ == down_) {
        std::copy(in.begin(), in.end(), out);
        return;
    }
    // Silence before and after, as far as the last tap of a group that is computed whole may look.
    const std::size_t after = num_taps_ + (kRows + 1) * down_;
    Buffer<float> padded(num_before_ + in.size() + after);
    std::fill_n(padded.data(), num_before_, 0.0f);
    std::fill_n(std::copy(in.begin(), in.end(), padded.data() + num_before_), after, 0.0f);
    if (num_phases_ == up_) {
        process_phases(padded.data(), num_out(in.size()), out);
    } else {
        process_between(padded.data(), num_out(in.size()), out);
    }
}

void Resampler::process_phases(const float* padded, std::size_t num_out, float* out) const {
    // Outputs up_ apart meet the same taps, down_ samples farther: the products of top-K with one query.
    const auto dots = topk_kernels().dots_float32;
    const void* rows[kRows];
    float found[kRows];
    for (std::size_t first = 0; first < num_out; first += kRows * up_) {
        const float* const base = padded + first / up_ * down_;
        for (std::size_t p = 0; p < std::min(up_, num_out - first); ++p) {
            // The k-th output of this phase lies at k * down_ + (p * down_) / up_ and a rest, which is the phase.
            const std::size_t place = p * down_ / up_, phase = p * down_ % up_;
            for (std::size_t k = 0; k < kRows; ++k) rows[k] = base + k * down_ + place;
            dots(rows, kRows, num_taps_, taps_.data() + phase * num_taps_, num_taps_, 1, found, kRows);
            for (std::size_t k = 0; k < kRows && first + k * up_ + p < num_out; ++k)
                out[first + k * up_ + p] = found[k];
        }
    }
}

void Resampler::process_between(const float* padded, std::size_t num_out, float* out) const {
    for (std::size_t j = 0; j < num_out; ++j) {
        const std::size_t whole = j / up_ * down_ + j % up_ * down_ / up_;
        const double phase =
            static_cast<double>(j % up_ * down_ % up_) / static_cast<double>(up_) * static_cast<double>(num_phases_);
        const std::size_t p = static_cast<std::size_t>(phase);
        const float *x = padded + whole, *low = taps_.data() + p * num_taps_, *high = low + num_taps_;
        constexpr std::size_t kSums = 16;
        float low_sums[kSums] = {}, high_sums[kSums] = {};
        std::size_t i = 0;
        for (; i + kSums <= num_taps_; i += kSums)
            for (std::size_t s = 0; s < kSums; ++s) {
                low_sums[s] += x[i + s] * low[i + s];
                high_sums[s] += x[i + s] * high[i + s];
            }
        for (; i < num_taps_; ++i) {
            low_sums[0] += x[i] * low[i];
            high_sums[0] += x[i] * high[i];
        }
        const double a = std::accumulate(low_sums, low_sums + kSums, 0.0),
                     b = std::accumulate(high_sums, high_sums + kSums, 0.0);
        out[j] = static_cast<float>(a + (b - a) * (phase - static_cast<double>(p)));
    }
}

std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz) {
    if (from_hz == to_hz) return {samples.begin(), samples.end()};
    const Resampler resampler(from_hz, to_hz);
    std::vector<float> out(resampler.num_out(samples.size()));
    resampler.process(samples, out.data());
    return out;
}

}  // namespace harken

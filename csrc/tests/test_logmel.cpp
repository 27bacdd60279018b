// LogMel against its formula in float64: every front end at the lengths where an edge rule changes, caps, threads, errors.
#include "logmel.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "check.h"
#include "error.h"
#include "random.h"

using namespace harken;

namespace {

double to_mel(double hz, MelScale scale) {
    if (scale == MelScale::htk) return 2595 * std::log10(1 + hz / 700);
    return hz < 1000 ? hz * 3 / 200 : 15 + 27 / std::log(6.4) * std::log(hz / 1000);
}

double to_hz(double mel, MelScale scale) {
    if (scale == MelScale::htk) return 700 * (std::pow(10, mel / 2595) - 1);
    return mel < 15 ? mel * 200 / 3 : 1000 * std::exp(std::log(6.4) / 27 * (mel - 15));
}

/// A frame by the sums that define it; the clip is mirrored at 0 and, unless zeros follow it, at its end.
std::vector<double> frame_of(const std::vector<float>& x, const MelSpec& spec, long t) {
    const long n = static_cast<long>(x.size()), fft = spec.n_fft;
    std::vector<double> windowed(static_cast<std::size_t>(fft)), mels(static_cast<std::size_t>(spec.num_mels));
    for (long i = 0; i < fft; ++i) {
        long p = std::labs(t * spec.hop_length - fft / 2 + i);
        if (spec.right_edge == RightEdge::reflect && n > 1)
            while (p >= n) p = std::labs(2 * (n - 1) - p);
        if (spec.right_edge == RightEdge::reflect && n == 1) p = 0;
        const double window =
            0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(fft));
        windowed[static_cast<std::size_t>(i)] = p < n ? window * x[static_cast<std::size_t>(p)] : 0;
    }
    const double low = to_mel(spec.f_min_hz, spec.mel_scale),
                 step = (to_mel(spec.f_max_hz, spec.mel_scale) - low) / (spec.num_mels + 1);
    for (long k = 0; k <= fft / 2; ++k) {
        double re = 0, im = 0;
        for (long i = 0; i < fft; ++i) {
            const double angle = 2 * std::numbers::pi * static_cast<double>(k * i % fft) / static_cast<double>(fft);
            re += windowed[static_cast<std::size_t>(i)] * std::cos(angle);
            im += windowed[static_cast<std::size_t>(i)] * std::sin(angle);
        }
        const double hz = spec.sample_rate_hz / 2.0 * static_cast<double>(k) / (static_cast<double>(fft) / 2);
        for (int m = 0; m < spec.num_mels; ++m) {
            const double left = to_hz(low + m * step, spec.mel_scale),
                         middle = to_hz(low + (m + 1) * step, spec.mel_scale),
                         right = to_hz(low + (m + 2) * step, spec.mel_scale);
            const double weight = std::min((hz - left) / (middle - left), (right - hz) / (right - middle));
            if (weight > 0)
                mels[static_cast<std::size_t>(m)] +=
                    (re * re + im * im) * weight * (spec.mel_norm ? 2 / (right - left) : 1);
        }
    }
    for (double& mel : mels) mel = spec.log_gain * std::log10(std::max(mel, spec.floor));
    return mels;
}

std::vector<float> clip_of(std::size_t n) {
    Random random;
    std::vector<float> x = random.numbers(n);
    for (std::size_t i = 0; i < n; ++i) x[i] *= i + 60 > n ? 0.7f : 0.05f;
    return x;
}

void equals_its_formula(const char* name, std::size_t n) {
    const MelSpec spec = mel_spec(name);
    const LogMel logmel(spec);
    const std::vector<float> x = clip_of(n);
    const std::size_t rows = logmel.num_rows(n, 0), mels = static_cast<std::size_t>(spec.num_mels);
    CHECK(rows ==
          (spec.right_edge == RightEdge::zeros ? (n + 159) / 160 : 1 + n / static_cast<std::size_t>(spec.hop_length)));
    std::vector<float> out(rows * mels), shared(rows * mels);
    logmel.compute(x, out.data());
    ThreadPool pool(3);
    logmel.compute(x, shared.data(), 0, LogMel::no_cap, &pool);
    CHECK(out == shared);
    // The maximum runs over every frame that holds signal.
    const std::size_t work =
        spec.right_edge == RightEdge::zeros ? (n + static_cast<std::size_t>(spec.n_fft) / 2 + 159) / 160 : rows;
    std::vector<std::vector<double>> exact;
    double largest = -1e30;
    for (std::size_t t = 0; t < work; ++t) {
        exact.push_back(frame_of(x, spec, static_cast<long>(t)));
        largest = std::max(largest, *std::max_element(exact.back().begin(), exact.back().end()));
    }
    const double tolerance = 1e-4 * spec.log_gain / spec.divisor / 0.25;
    for (std::size_t t = 0; t < rows; ++t)
        for (std::size_t m = 0; m < mels; ++m)
            CHECK_NEAR(out[t * mels + m], (std::max(exact[t][m], largest - spec.max_range) + spec.shift) / spec.divisor,
                       tolerance);
}

void a_cap_is_the_end() {
    const LogMel logmel(mel_spec("whisper-80"));
    const std::vector<float> x = clip_of(4000);
    CHECK(logmel.num_frames(4000, 1600) == 10 && logmel.num_rows(1600, 5, 1920) == 12 &&
          logmel.num_rows(1600, 2) == 12);
    // Longer than the cap is as long as the cap; with room behind it a clip is as without a cap.
    std::vector<float> cut(10 * 80), short_one(10 * 80), capped(25 * 80), free(25 * 80);
    logmel.compute(x, cut.data(), 0, 1600);
    logmel.compute({x.data(), 1600}, short_one.data(), 0, 1600);
    CHECK(cut == short_one);
    logmel.compute(x, capped.data(), 0, 8000);
    logmel.compute(x, free.data());
    CHECK(capped == free);
    std::vector<std::int64_t> starts{0, 700, 701, 4000};
    std::vector<float> all((5 + 1 + 21) * 80), one(21 * 80);
    ThreadPool pool(2);
    logmel.compute_all(x.data(), starts, all.data(), 0, LogMel::no_cap, pool);
    logmel.compute({x.data() + 701, 3299}, one.data());
    CHECK(std::equal(one.begin(), one.end(), all.begin() + 6 * 80));
}

void say_what_is_wrong() {
    const LogMel whisper(mel_spec("whisper-128")), dasheng(mel_spec("dasheng-64"));
    std::vector<float> out(1000);
    CHECK_THROWS(Error, whisper.compute({}, out.data()));
    CHECK_THROWS(Error, whisper.num_rows(100, 0, 200));
    CHECK_THROWS(Error, dasheng.num_rows(100, 1));
    CHECK_THROWS(Error, mel_spec("whisper-96"));
    for (const auto& change : std::vector<void (*)(MelSpec&)>{
             [](MelSpec& s) { s.n_fft = 480; }, [](MelSpec& s) { s.n_fft = 8192; }, [](MelSpec& s) { s.n_fft = -400; },
             [](MelSpec& s) { s.hop_length = 0; }, [](MelSpec& s) { s.win_length = 401; },
             [](MelSpec& s) { s.num_mels = 0; }, [](MelSpec& s) { s.f_max_hz = 9000; }, [](MelSpec& s) { s.floor = 0; },
             [](MelSpec& s) { s.divisor = 0; }}) {
        MelSpec spec;
        change(spec);
        CHECK_THROWS(Error, LogMel(spec));
    }
}

}  // namespace

int main() {
    for (const std::size_t n : {1, 161, 399, 2000}) equals_its_formula("whisper-128", n);
    equals_its_formula("whisper-80", 640);
    for (const std::size_t n : {1, 300, 2081}) equals_its_formula("dasheng-64", n);
    for (const std::size_t n : {2, 5000}) equals_its_formula("htsat-64", n);
    a_cap_is_the_end();
    say_what_is_wrong();
}

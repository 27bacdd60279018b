// What a long sound holds, second by second:  stream BUNDLE SOUND SENTENCE...
// A window slides over the sound as it would over a microphone's buffer; for each place the nearest sentence is printed.
#include <algorithm>
#include <cstdio>
#include <harken/harken.hpp>

constexpr double kWindowS = 3.0, kStepS = 1.0;

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s BUNDLE SOUND SENTENCE...\n", argv[0]);
        return 2;
    }
    try {
        const harken::Model model(argv[1], {.num_threads = 1});
        const std::vector<std::string_view> sentences(argv + 3, argv + argc);
        const harken::Index index(model.encode_text(sentences).values, model.dim(), 1);

        const harken::Sound sound(argv[2]);
        const auto [samples, rate_hz] = sound.clip();
        const auto window = static_cast<std::size_t>(kWindowS * rate_hz), step = static_cast<std::size_t>(kStepS * rate_hz);
        for (std::size_t first = 0; first < samples.size(); first += step) {
            const harken::Clip now{samples.subspan(first, std::min(window, samples.size() - first)), rate_hz};
            // A rest of a few milliseconds is too short to hear anything in.
            if (first > 0 && now.samples.size() < step / 2) break;
            const harken::Hit best = index.search(model.encode_audio(now), 1).front();
            std::printf("%6.1f s  %.4f  %s\n", static_cast<double>(first) / rate_hz, best.score,
                        argv[3 + best.row]);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

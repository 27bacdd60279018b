// What a sound is before the tower hears it: long silences go, short ones and the loudest frame stay, order is kept.
#include "clip.h"

#include "check.h"
#include "recipe.h"

using namespace harken;

namespace {

constexpr std::uint32_t kRateHz = 1000;  // 20 samples a frame

std::vector<float> joined(std::initializer_list<std::pair<std::size_t, float>> runs) {
    std::vector<float> samples;
    for (const auto& [count, value] : runs) samples.insert(samples.end(), count, value);
    return samples;
}

void runs_of_silence() {
    const auto dropped = [](const std::vector<float>& samples) { return drop_silences(samples, kRateHz, 40, 0.1); };
    CHECK(dropped(joined({{40, 1}, {120, 0}, {20, 0.5f}, {120, 0.001f}})) == joined({{40, 1}, {20, 0.5f}}));
    // As long as is allowed, or not 40 dB below the loudest.
    const std::vector<float> whole = joined({{40, 1}, {100, 0}, {20, 0.5f}, {120, 0.011f}});
    CHECK(dropped(whole) == whole);
    CHECK(dropped(joined({{120, 0}, {20, 1}, {120, 0}, {7, 1}})) == joined({{20, 1}, {7, 1}}));
    // The end of the last run is no whole frame.
    CHECK(dropped(joined({{20, 1}, {101, 0}})) == joined({{20, 1}}));
    const std::vector<float> zeros(500);
    CHECK(dropped(zeros) == zeros && dropped({}).empty());
}

void only_what_is_cut_into_windows() {
    Recipe recipe;
    recipe.long_audio = LongAudio::window_mean;
    recipe.max_audio_s = 0.2;
    recipe.silence_db = 40;
    recipe.silence_s = 0.1;
    const std::vector<float> longer = joined({{40, 1}, {180, 0}, {20, 1}}), shorter = joined({{40, 1}, {160, 0}});
    CHECK(prepare_clip(longer, kRateHz, kRateHz, recipe, "a").size() == 60);
    CHECK(prepare_clip(shorter, kRateHz, kRateHz, recipe, "a") == shorter);
    recipe.silence_db.reset();
    CHECK(prepare_clip(longer, kRateHz, kRateHz, recipe, "a") == longer);
    recipe.silence_db = 40;
    recipe.long_audio = LongAudio::truncate;
    CHECK(prepare_clip(longer, kRateHz, kRateHz, recipe, "a").size() == 200);
}

}  // namespace

int main() {
    runs_of_silence();
    only_what_is_cut_into_windows();
}

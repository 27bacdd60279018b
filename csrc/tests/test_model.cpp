// The C and C++ interfaces on a tiny model: what a vector depends on, what is refused, many callers at once.
#include <cstring>
#include <thread>

#include "check.h"
#include "harken/harken.hpp"
#include "random.h"
#include "tiny_bundle.h"

namespace {

using harken::Clip;
using harken::Model;

constexpr float kSame = 2e-5f;

void check_same(std::span<const float> a, std::span<const float> b) {
    CHECK(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK_NEAR(a[i], b[i], kSame);
}

template <typename Call>
void check_refused(harken_status status, const char* part, Call&& call) {
    try {
        call();
    } catch (const harken::Error& error) {
        if (error.status() == status && std::strstr(error.what(), part) != nullptr) return;
        std::fprintf(stderr, "status %d: %s; wanted %d, %s\n", error.status(), error.what(), status, part);
        std::exit(1);
    }
    std::fprintf(stderr, "nothing was refused; wanted %s\n", part);
    std::exit(1);
}

void vectors_do_not_depend_on_neighbours(const TinyOptions& options) {
    const TinyBundle bundle(options);
    const Model alone(bundle.path(), {.num_threads = 1}), shared(bundle.path(), {.num_threads = 3, .batch_tokens = 60});
    Random random;
    std::vector<std::vector<float>> sounds;
    for (const std::size_t n : {700, 16000, 3333, 31999, 32000, 20000}) sounds.push_back(random.numbers(n));
    std::vector<Clip> clips;
    for (const auto& sound : sounds) clips.push_back({sound, 16000});
    const harken::Vectors together = shared.encode_audio(clips);
    for (std::size_t i = 0; i < clips.size(); ++i) {
        check_same(together[i], alone.encode_audio(clips[i]));
        double squares = 0;
        for (const float x : together[i]) squares += x * x;
        CHECK_NEAR(squares, 1, 1e-5);
    }
    CHECK(std::fabs(together[0][0] - together[1][0]) > 1e-4);

    const std::vector<std::string_view> texts{"a", "rain on a roof", "Glockenspiel \xf0\x9f\x94\x94", "a dog barks twice"};
    const harken::Vectors of_texts = shared.encode_text(texts);
    for (std::size_t i = 0; i < texts.size(); ++i) check_same(of_texts[i], alone.encode_text(texts[i]));
}

void long_sounds() {
    const TinyBundle cut, averaged({.recipe = {{"long_audio", "\"window-mean\""}}}),
        refused({.recipe = {{"long_audio", "\"error\""}}});
    Random random;
    const std::vector<float> sound = random.numbers(48000);
    const Clip whole{sound, 16000}, head{std::span(sound).first(32000), 16000}, tail{std::span(sound).subspan(32000), 16000};
    check_same(Model(cut.path()).encode_audio(whole), Model(cut.path()).encode_audio(head));
    const Model windows(averaged.path());
    std::vector<float> mean = windows.encode_audio(head), rest = windows.encode_audio(tail);
    double squares = 0;
    for (std::size_t i = 0; i < mean.size(); ++i) {
        mean[i] += rest[i];
        squares += static_cast<double>(mean[i]) * mean[i];
    }
    for (float& x : mean) x /= static_cast<float>(std::sqrt(squares));
    check_same(windows.encode_audio(whole), mean);
    check_refused(HARKEN_AUDIO_ERROR, "longer than", [&] { (void)Model(refused.path()).encode_audio(whole); });
}

void what_is_refused() {
    const TinyBundle bundle;
    const Model model(bundle.path());
    const std::vector<float> silence(4000), broken{0.0f, NAN, 0.0f};
    check_refused(HARKEN_AUDIO_ERROR, "no samples", [&] { (void)model.encode_audio(Clip{{}, 16000}); });
    check_refused(HARKEN_AUDIO_ERROR, "sample 1", [&] { (void)model.encode_audio(Clip{broken, 16000}); });
    check_refused(HARKEN_AUDIO_ERROR, "sample rate", [&] { (void)model.encode_audio(Clip{silence, 0}); });
    check_refused(HARKEN_AUDIO_ERROR, "too short", [&] { (void)model.encode_audio(Clip{std::span(silence).first(9), 16000}); });
    check_refused(HARKEN_INVALID_ARGUMENT, "visible", [&] { (void)model.encode_text("\xe2\x80\x83 \n"); });
    check_refused(HARKEN_INVALID_ARGUMENT, "visible", [&] { (void)model.encode_text(""); });
    check_refused(HARKEN_INVALID_ARGUMENT, "instruction", [&] { (void)model.encode_text("a", "query: "); });
    check_refused(HARKEN_INVALID_ARGUMENT, "num_threads", [&] { Model(bundle.path(), {.num_threads = 5000}); });
    check_refused(HARKEN_IO_ERROR, "manifest.json", [&] { Model("/nowhere"); });

    const harken_clip clips[2] = {{silence.data(), silence.size(), 16000}, {broken.data(), broken.size(), 16000}};
    harken_model* raw = nullptr;
    CHECK(harken_model_load(bundle.path().c_str(), nullptr, &raw) == HARKEN_OK);
    std::vector<float> vectors(2 * harken_model_dim(raw));
    std::vector<std::size_t> failed;
    const auto note = [](void* user, size_t item, harken_status status, const char*) {
        CHECK(status == HARKEN_AUDIO_ERROR);
        static_cast<std::vector<std::size_t>*>(user)->push_back(item);
    };
    CHECK(harken_model_encode_audio(raw, clips, 2, nullptr, vectors.data(), note, &failed) == HARKEN_OK);
    CHECK(failed == std::vector<std::size_t>{1});
    CHECK(std::isfinite(vectors.front()) && std::isnan(vectors.back()));
    CHECK(harken_model_encode_audio(raw, clips, 2, nullptr, nullptr, nullptr, nullptr) == HARKEN_INVALID_ARGUMENT);
    CHECK(harken_model_encode_audio(nullptr, clips, 2, nullptr, vectors.data(), nullptr, nullptr) == HARKEN_INVALID_ARGUMENT);
    CHECK(harken_model_encode_text(raw, nullptr, nullptr, 1, nullptr, vectors.data()) == HARKEN_INVALID_ARGUMENT);
    harken_model_free(raw);
    harken_model_options other{};
    CHECK(harken_model_load(bundle.path().c_str(), &other, &raw) == HARKEN_INVALID_ARGUMENT && raw == nullptr);
    harken_model_free(nullptr);

    const harken::Index index(silence, 4);
    check_refused(HARKEN_INVALID_ARGUMENT, "of 4 numbers", [&] { index.check_model(model); });
    harken::Index(std::vector<float>(2 * model.dim()), model.dim()).check_model(model);
    check_refused(HARKEN_INVALID_ARGUMENT, "wanted 4", [&] { (void)index.search(std::span(silence).first(3), 1); });
    check_refused(HARKEN_INVALID_ARGUMENT, "k must be 1..1024, got 0", [&] { (void)index.search(std::span(silence).first(4), 0); });
    check_refused(HARKEN_INVALID_ARGUMENT, "filter", [&] { (void)index.search(std::span(silence).first(4), 1, std::vector<std::uint64_t>(2)); });
    check_refused(HARKEN_INVALID_ARGUMENT, "row 1000", [&] { (void)index.name(1000); });
    CHECK(index.name(0).empty() && index.size() == 1000);
}

void many_callers() {
    const TinyBundle bundle;
    const Model model(bundle.path(), {.num_threads = 3});
    const std::vector<float> want = model.encode_text("thunder");
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i)
        callers.emplace_back([&] {
            for (int j = 0; j < 5; ++j) check_same(model.encode_text("thunder"), want);
            check_refused(HARKEN_INVALID_ARGUMENT, "visible", [&] { (void)model.encode_text(" "); });
        });
    for (std::thread& caller : callers) caller.join();
}

void instructions() {
    const TinyBundle bundle({.recipe = {{"text_template", "\"<s>{instruction}{text}</s>\""}}});
    const Model model(bundle.path());
    check_same(model.encode_text("rain", "find: "), model.encode_text("find: rain"));
    CHECK(model.tokenize("<s>a</s>") == (std::vector<std::int32_t>{256, 'a', 257}));
}

void sounds_with_a_text() {
    const TinyBundle both({.recipe = {{"audio_text_template", "\"<s>{audio}{text}</s>\""}}}), neither;
    const Model model(both.path(), {.num_threads = 2, .batch_tokens = 60});
    Random random;
    const std::vector<float> longer = random.numbers(20000), shorter = random.numbers(3333);
    const std::vector<Clip> clips{{longer, 16000}, {shorter, 16000}, {longer, 16000}};
    const std::vector<std::string_view> texts{"rain", "Glockenspiel \xf0\x9f\x94\x94", "a dog"};
    const harken::Vectors together = model.encode_audio_text(clips, texts);
    for (std::size_t i = 0; i < clips.size(); ++i)
        check_same(together[i], model.encode_audio_text(std::span(clips).subspan(i, 1), std::span(texts).subspan(i, 1))[0]);
    CHECK(std::fabs(together[0][0] - together[2][0]) > 1e-4);
    const auto first = std::span(texts).first(1);
    check_refused(HARKEN_INVALID_ARGUMENT, "3 sounds with 1 texts", [&] { (void)model.encode_audio_text(clips, first); });
    const std::vector<std::string_view> blank{"rain", " ", "a dog"};
    check_refused(HARKEN_INVALID_ARGUMENT, "texts[1]", [&] { (void)model.encode_audio_text(clips, blank); });
    const Model other(neither.path());
    check_refused(HARKEN_INVALID_ARGUMENT, "takes no sound together with a text",
                  [&] { (void)other.encode_audio_text(clips, texts); });
}

}  // namespace

int main() {
    vectors_do_not_depend_on_neighbours({});
    vectors_do_not_depend_on_neighbours({.window = "40"});
    vectors_do_not_depend_on_neighbours({.recipe = {{"pooling", "\"last\""}}, .heads = false});
    vectors_do_not_depend_on_neighbours(
        {.recipe = {{"pooling", "\"mean-content\""}, {"attention", "\"bidirectional\""}}});
    long_sounds();
    what_is_refused();
    many_callers();
    instructions();
    sounds_with_a_text();
}

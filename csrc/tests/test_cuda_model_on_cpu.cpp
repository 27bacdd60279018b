// A model on a device gives the CPU's vectors, through the C and C++ interfaces.
//
//     test_cuda_model_on_cpu [--cublaslt]          tiny bundles; with a libcublasLt it must be used
//     test_cuda_model_on_cpu BUNDLE COSINE         a bundle of the exporter's: cosines no less than that, 1 asks for 1e-4
#include <cstring>
#include <string>
#include <thread>

#include "check.h"
#include "cuda_runtime.h"
#include "harken/harken.hpp"
#include "random.h"
#include "tiny_bundle.h"

namespace {

using harken::Clip;
using harken::Model;
using harken::Vectors;

const std::vector<std::string_view> kTexts{"a", "rain on a roof", "Glockenspiel \xf0\x9f\x94\x94", "a dog barks twice, then nothing more"};

std::vector<std::vector<float>> sounds(std::initializer_list<std::size_t> lengths) {
    Random random;
    std::vector<std::vector<float>> made;
    for (const std::size_t n : lengths) made.push_back(random.numbers(n));
    return made;
}

std::vector<Clip> clips_of(const std::vector<std::vector<float>>& sounds) {
    std::vector<Clip> clips;
    for (const auto& sound : sounds) clips.push_back({sound, 16000});
    return clips;
}

void near(const Vectors& got, const Vectors& want, double tolerance) {
    CHECK(got.size() == want.size() && got.dim == want.dim);
    for (std::size_t i = 0; i < got.values.size(); ++i) CHECK_NEAR(got.values[i], want.values[i], tolerance);
}

template <typename Call>
void refused(harken_status status, const char* part, Call&& call) {
    try {
        call();
    } catch (const harken::Error& error) {
        if (error.status() != status || std::strstr(error.what(), part) == nullptr) std::fprintf(stderr, "%d %s\n", error.status(), error.what());
        CHECK(error.status() == status && std::strstr(error.what(), part) != nullptr);
        return;
    }
    CHECK(false);
}

/// Sounds and sentences of many lengths, in batches of several and alone.
void same_vectors(const TinyOptions& options, bool cublaslt) {
    const TinyBundle bundle(options);
    const Model want(bundle.path(), {.num_threads = 1});
    Model got(bundle.path(), {.num_threads = 1, .batch_tokens = 60});
    got.to_cuda();
    CHECK(got.runner() == (cublaslt ? "cuda cublaslt" : "cuda"));
    const auto heard = sounds({700, 16000, 3333, 12000});
    const std::vector<Clip> clips = clips_of(heard);
    const Vectors audio = got.encode_audio(clips), text = got.encode_text(kTexts);
    near(audio, want.encode_audio(clips), 1e-4);
    near(text, want.encode_text(kTexts), 1e-4);
    if (cublaslt) return;
    // Whatever else is computed with it, a vector has the same bits.
    const std::vector<float> alone = got.encode_audio(clips[2]), said = got.encode_text(kTexts[0]);
    CHECK(std::equal(alone.begin(), alone.end(), audio[2].begin()));
    CHECK(std::equal(said.begin(), said.end(), text[0].begin()));
}

void what_is_refused() {
    const TinyBundle bundle;
    Model model(bundle.path(), {.num_threads = 1});
    const std::vector<float> want = model.encode_text("thunder");
    const auto as_before = [&] {
        CHECK(model.runner() == "harken" && model.encode_text("thunder") == want);
        CHECK(cuda_on_cpu::used_bytes() == 0);
    };
    refused(HARKEN_BACKEND_ERROR, "CUDA device 1", [&] { model.to_cuda(1); });
    refused(HARKEN_BACKEND_ERROR, "CUDA device -1", [&] { model.to_cuda(-1); });
    cuda_on_cpu::set_num_devices(0);
    refused(HARKEN_BACKEND_ERROR, "there are 0", [&] { model.to_cuda(); });
    cuda_on_cpu::set_num_devices(1);
    for (const std::size_t room : {0, 40000, 120000}) {
        cuda_on_cpu::set_free_bytes(room);
        refused(HARKEN_OUT_OF_MEMORY, "out of memory", [&] { model.to_cuda(); });
        as_before();
    }
    cuda_on_cpu::set_free_bytes(SIZE_MAX);
    CHECK(harken_model_to_cuda(nullptr, 0) == HARKEN_INVALID_ARGUMENT);

    // A call that finds no memory fails; the next one works.
    model.to_cuda();
    cuda_on_cpu::set_free_bytes(5000);
    refused(HARKEN_OUT_OF_MEMORY, "out of memory", [&] { (void)model.encode_text("thunder"); });
    cuda_on_cpu::set_free_bytes(SIZE_MAX);
    const std::vector<float> got = model.encode_text("thunder");
    for (std::size_t i = 0; i < want.size(); ++i) CHECK_NEAR(got[i], want[i], 1e-4);
    refused(HARKEN_INVALID_ARGUMENT, "visible", [&] { (void)model.encode_text(" "); });
    refused(HARKEN_AUDIO_ERROR, "no samples", [&] { (void)model.encode_audio(Clip{{}, 16000}); });
}

void two_callers() {
    const TinyBundle bundle;
    Model model(bundle.path(), {.num_threads = 2});
    model.to_cuda();
    const auto heard = sounds({5000});
    const std::vector<Clip> clips = clips_of(heard);
    const std::vector<float> said = model.encode_text("thunder"), sound = model.encode_audio(clips[0]);
    std::thread other([&] {
        for (int i = 0; i < 2; ++i) CHECK(model.encode_text("thunder") == said);
    });
    for (int i = 0; i < 2; ++i) CHECK(model.encode_audio(clips[0]) == sound);
    other.join();
}

int check_bundle(const std::string& folder, double least) {
    const Model want(folder, {.num_threads = 1});
    Model got(folder, {.num_threads = 1, .batch_tokens = 100});
    got.to_cuda();
    const auto heard = sounds({321, 16000, 5001});
    const std::vector<Clip> clips = clips_of(heard);
    const std::pair<Vectors, Vectors> pairs[] = {{got.encode_audio(clips), want.encode_audio(clips)},
                                                 {got.encode_text(kTexts), want.encode_text(kTexts)}};
    double worst = 1;
    for (const auto& [a, b] : pairs)
        for (std::size_t i = 0; i < a.size(); ++i) {
            double product = 0, of_a = 0, of_b = 0;
            for (std::size_t j = 0; j < a.dim; ++j) {
                product += static_cast<double>(a[i][j]) * b[i][j];
                of_a += static_cast<double>(a[i][j]) * a[i][j];
                of_b += static_cast<double>(b[i][j]) * b[i][j];
                if (least == 1) CHECK_NEAR(a[i][j], b[i][j], 1e-4);
            }
            worst = std::fmin(worst, product / std::sqrt(of_a * of_b));
        }
    std::printf("least cosine %.7f\n", worst);
    CHECK(least == 1 || worst >= least);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3) return check_bundle(argv[1], std::stod(argv[2]));
    const bool cublaslt = argc == 2 && std::strcmp(argv[1], "--cublaslt") == 0;
    same_vectors({}, cublaslt);
    same_vectors({.window = "40"}, cublaslt);
    same_vectors({.recipe = {{"pooling", "\"last\""}}, .heads = false}, cublaslt);
    same_vectors({.recipe = {{"pooling", "\"mean-content\""}, {"attention", "\"bidirectional\""}, {"normalize_before_head", "true"}}}, cublaslt);
    if (!cublaslt) what_is_refused();
    two_callers();
    CHECK(cuda_on_cpu::used_bytes() == 0);
}

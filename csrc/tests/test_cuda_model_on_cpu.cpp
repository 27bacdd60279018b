// A model on an emulated device gives the CPU's vectors, through the C and C++ interfaces.
//
//     test_cuda_model_on_cpu [--cublaslt]     tiny bundles; with a libcublasLt, which must be used
//     test_cuda_model_on_cpu BUNDLE COSINE    cuda_vectors.h, check_bundle
#include <cstring>
#include <thread>

#include "cuda_runtime.h"
#include "cuda_vectors.h"

namespace {

template <typename Call>
void refused(harken_status status, const char* part, Call&& call) {
    try {
        call();
    } catch (const harken::Error& error) {
        if (error.status() != status || std::strstr(error.what(), part) == nullptr)
            std::fprintf(stderr, "%d %s\n", error.status(), error.what());
        CHECK(error.status() == status && std::strstr(error.what(), part) != nullptr);
        return;
    }
    CHECK(false);
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

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3) {
        check_bundle(argv[1], std::stod(argv[2]));
        return 0;
    }
    const bool cublaslt = argc == 2 && std::strcmp(argv[1], "--cublaslt") == 0;
    same_vectors(cublaslt ? "cuda cublaslt" : "cuda", !cublaslt);
    if (!cublaslt) what_is_refused();
    two_callers();
    CHECK(cuda_on_cpu::used_bytes() == 0);
}

// A model on a CUDA device gives the CPU's vectors; without one the library says so and goes on on the CPU.
//
//     test_cuda_model                  tiny bundles
//     test_cuda_model BUNDLE COSINE    cuda_vectors.h, check_bundle
#include <cstring>

#include "cuda_vectors.h"

int main(int argc, char** argv) {
    if (harken_num_cuda_devices() == 0) {
        const TinyBundle bundle;
        Model model(bundle.path(), {.num_threads = 1});
        const std::vector<float> want = model.encode_text("thunder");
        bool refused = false;
        try {
            model.to_cuda();
        } catch (const harken::Error& error) {
            refused = error.status() == HARKEN_BACKEND_ERROR && std::strstr(error.what(), "CUDA device 0") != nullptr;
        }
        CHECK(refused && model.runner() == "harken" && model.encode_text("thunder") == want);
        std::puts("no CUDA device: encoded on the CPU");
        return 0;
    }
    if (argc == 3)
        check_bundle(argv[1], std::stod(argv[2]));
    else
        same_vectors(nullptr, false);
    std::puts("encoded on a CUDA device");
}

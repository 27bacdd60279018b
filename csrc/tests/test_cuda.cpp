// Without a GPU the library loads with every symbol bound, says that there is none, and answers; with one, it finds the
// CPU's hits.
#include <dlfcn.h>

#include <cstring>

#include "check.h"
#include "harken/harken.hpp"
#include "random.h"

namespace {

/// The CPU's hits, from a device too.
void search(std::size_t dim, std::size_t num_rows) {
    Random random;
    const std::vector<float> rows = random.numbers(num_rows * dim), queries = random.numbers(140 * dim);
    std::vector<std::uint64_t> filter((num_rows + 63) / 64, 0x5555555555555555);
    harken::Index index(rows, dim, 1);
    const auto all = index.search_batch(queries, 20), odd = index.search_batch(queries, 20, filter);

    const int count = harken_num_cuda_devices();
    CHECK(count >= 0);
    if (count == 0) {
        bool refused = false;
        try {
            index.to_cuda(0);
        } catch (const harken::Error& error) {
            refused = error.status() == HARKEN_BACKEND_ERROR && std::strstr(error.what(), "CUDA device 0") != nullptr;
        }
        CHECK(refused);
        CHECK(index.search_batch(queries, 20)[3][0].row == all[3][0].row);
        std::puts("no CUDA device: searched on the CPU");
        return;
    }
    index.to_cuda(0);
    const auto same = [](const auto& got, const auto& want) {
        CHECK(got.size() == want.size());
        for (std::size_t q = 0; q < got.size(); ++q)
            for (std::size_t i = 0; i < want[q].size(); ++i) {
                CHECK(got[q].size() == want[q].size() && got[q][i].row == want[q][i].row);
                CHECK_NEAR(got[q][i].score, want[q][i].score, 1e-5);
            }
    };
    same(index.search_batch(queries, 20), all);
    same(index.search_batch(queries, 20, filter), odd);
    std::puts("searched on a CUDA device");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) {
        void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) std::fprintf(stderr, "%s\n", dlerror());
        CHECK(library != nullptr);
        const auto num_devices = reinterpret_cast<int32_t (*)()>(dlsym(library, "harken_num_cuda_devices"));
        CHECK(num_devices != nullptr && num_devices() == harken_num_cuda_devices());
    }
    // A width that Triton's kernels do not take, and one that they do.
    search(48, 5000);
    search(64, 20000);
}

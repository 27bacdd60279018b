// An index folder one of whose files is the input: its first byte says which. What opens is searched and named.
#include "error.h"
#include "fuzz.h"
#include "index_file.h"

namespace {

constexpr const char* kNames[] = {"index.json", "rows.arrow", "vectors.npy", "scales.npy"};

std::string npy(const char* about, const std::string& content) {
    std::string header = std::string("{'descr': ") + about + ", }";
    header.resize(118, ' ');
    return "\x93NUMPY" + std::string("\1\0", 2) + bytes_of<std::uint16_t>(118) + header + content;
}

std::string about(std::size_t rows_bytes, std::size_t vectors_bytes, std::size_t scales_bytes) {
    const auto file = [](const char* name, std::size_t bytes) {
        return "{\"name\":\"" + std::string(name) + "\",\"bytes\":" + std::to_string(bytes) + ",\"sha256\":\"0\"}";
    };
    return R"({"kind":"harken index","version":1,"count":2,"dim":4,"dtype":"int8","fingerprint":{"recipe":"r\u00e9\n"},"made_with":{},"files":{"rows":)" +
           file(kNames[1], rows_bytes) + ",\"vectors\":" + file(kNames[2], vectors_bytes) +
           ",\"scales\":" + file(kNames[3], scales_bytes) + "}}";
}

/// Two rows, "a" and "bc", as pyarrow writes them.
std::string arrow() {
    static const unsigned char bytes[] = {
#include "rows_arrow.inc"
    };
    return {reinterpret_cast<const char*>(bytes), sizeof bytes};
}

std::vector<std::string> parts() {
    std::vector<std::string> files{"", arrow(), npy("'|i1', 'fortran_order': False, 'shape': (2, 4)", "abcdefgh"),
                                   npy("'<f4', 'fortran_order': False, 'shape': (2,)", std::string(8, '\x3c'))};
    files[0] = about(files[1].size(), files[2].size(), files[3].size());
    return files;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::filesystem::path folder = own_folder("index");
    static const std::vector<std::string> good = parts();
    if (size == 0) return 0;
    const std::size_t which = data[0] % good.size();
    std::vector<std::string> files = good;
    files[which].assign(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (which != 0) files[0] = about(files[1].size(), files[2].size(), files[3].size());
    for (std::size_t i = 0; i < files.size(); ++i) write_whole(folder / kNames[i], files[i]);
    static harken::ThreadPool pool(1);
    try {
        const harken::IndexFile index(folder.string());
        std::size_t num_bytes = 0;
        for (std::size_t row = 0; row < index.size(); ++row) num_bytes += index.id(row).size();
        const std::vector<float> query(index.dim(), 1.0f);
        float scores[3];
        std::int64_t ids[3];
        harken::topk(index.corpus(), query.data(), 1, 3, nullptr, scores, ids, pool);
        return num_bytes == ~std::size_t{0};
    } catch (const harken::Error&) {
    }
    return 0;
}

std::vector<std::string> fuzz_seeds() {
    std::vector<std::string> seeds;
    const std::vector<std::string> good = parts();
    for (std::size_t i = 0; i < good.size(); ++i) seeds.push_back(static_cast<char>(i) + good[i]);
    return seeds;
}

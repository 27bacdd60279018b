// Which sounds of a folder answer to a sentence:  search BUNDLE FOLDER "a dog barks" [HITS]
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <harken/harken.hpp>

namespace {

std::vector<std::string> sounds_of(const std::string& folder) {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
        if (const auto suffix = entry.path().extension(); suffix == ".wav" || suffix == ".flac")
            paths.push_back(entry.path().string());
    return paths;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s BUNDLE FOLDER SENTENCE [HITS]\n", argv[0]);
        return 2;
    }
    try {
        const harken::Model model(argv[1]);
        const std::vector<std::string> paths = sounds_of(argv[2]);
        if (paths.empty()) throw std::runtime_error(std::string(argv[2]) + ": holds no .wav or .flac file");

        std::vector<harken::Failure> failures;
        const harken::Vectors vectors = model.encode_files(paths, &failures);
        std::vector<std::uint64_t> readable((paths.size() + 63) / 64, ~std::uint64_t{0});
        for (const harken::Failure& failure : failures) {
            std::fprintf(stderr, "left out: %s\n", failure.text.c_str());
            readable[failure.item / 64] &= ~(std::uint64_t{1} << failure.item % 64);
        }

        const harken::Index index(vectors.values, vectors.dim);
        const std::vector<float> query = model.encode_text(argv[3]);
        for (const harken::Hit& hit : index.search(query, argc > 4 ? std::strtoul(argv[4], nullptr, 10) : 5, readable))
            std::printf("%.4f  %s\n", hit.score, paths[static_cast<std::size_t>(hit.row)].c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

// A bundle folder one of whose files is the input: its first byte says which. What loads tokenises and encodes a sentence.
#include <fstream>
#include <iterator>

#include "error.h"
#include "fuzz.h"
#include "model.h"
#include "tiny_bundle.h"

namespace {

constexpr const char* kNames[] = {"manifest.json", "weights.safetensors", "tokenizer.json"};

std::vector<std::string> parts() {
    const TinyBundle bundle;
    std::vector<std::string> files;
    for (const char* name : kNames) {
        std::ifstream stream(bundle.path() + "/" + name, std::ios::binary);
        files.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    }
    return files;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::filesystem::path folder = own_folder("bundle");
    static const std::vector<std::string> good = [] {
        const std::vector<std::string> files = parts();
        for (std::size_t i = 0; i < files.size(); ++i) write_whole(folder / kNames[i], files[i]);
        return files;
    }();
    if (size == 0) return 0;
    const std::size_t which = data[0] % good.size();
    write_whole(folder / kNames[which], {reinterpret_cast<const char*>(data) + 1, size - 1});
    try {
        const harken::Model model(folder.string(), 1, 0);
        std::vector<float> vector(model.dim());
        model.encode_text({"a dog"}, std::nullopt, vector.data());
    } catch (const harken::Error&) {
    }
    write_whole(folder / kNames[which], good[which]);
    return 0;
}

std::vector<std::string> fuzz_seeds() {
    std::vector<std::string> seeds;
    const std::vector<std::string> good = parts();
    for (std::size_t i = 0; i < good.size(); ++i) seeds.push_back(static_cast<char>(i) + good[i]);
    return seeds;
}

// A bundle that lies about itself is refused by name; none crashes the program or makes it take memory.
#include "bundle.h"

#include <fstream>
#include <iterator>

#include "check.h"
#include "error.h"
#include "model.h"
#include "tiny_bundle.h"

using namespace harken;

namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    CHECK(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

void refused(const TinyBundle& bundle, const std::string& what) {
    try {
        Model(bundle.path(), 1, 0);
    } catch (const Error& error) {
        CHECK(error.code() == HARKEN_FILE_FORMAT_ERROR || error.code() == HARKEN_MODEL_ERROR ||
              error.code() == HARKEN_IO_ERROR || error.code() == HARKEN_INVALID_ARGUMENT);
        return;
    }
    std::fprintf(stderr, "loaded in spite of %s\n", what.c_str());
    std::exit(1);
}

void numbers_that_cannot_be() {
    const TinyBundle bundle;
    const std::string manifest = bundle.manifest();
    const std::string before_and_after[][2] = {
        {"\"num_layers\":2", "\"num_layers\":3"},
        {"\"num_heads\":3", "\"num_heads\":5"},
        {"\"num_kv_heads\":2", "\"num_kv_heads\":3"},
        {"\"head_width\":6", "\"head_width\":7"},
        {"\"vocab_size\":300", "\"vocab_size\":299"},
        {"\"max_positions\":150", "\"max_positions\":149"},
        {"\"max_samples\":48000", "\"max_samples\":480000"},
        {"\"window\":null", "\"window\":301"},
        {"\"audio_token_id\":258", "\"audio_token_id\":300"},
        {"\"projects\":false", "\"projects\":true"},
        {"\"vector\":18", "\"vector\":17"},
        {"whisper-80", "whisper-81"},
        {"whisper-80", "htsat-64"},
        {"\"bundle_version\":1", "\"bundle_version\":2"},
        {"\"target\":\"bundle\"", "\"target\":\"hf\""},
        {"\"target\":\"bundle\"", "\"target\":7"},
        {"\"pooling\":\"mean\"", "\"pooling\":\"median\""},
        {"{audio}", "{sound}"},
        {"{text}", "{text}{text}"},
        {"\"recipe\":{", R"("recipe":{"audio_text_template":"{audio}",)"},
        {"\"max_audio_s\":2.0", "\"max_audio_s\":0.0"},
        {"\"max_audio_s\":2.0", "\"max_audio_s\":1e300"},
        {"\"max_text_tokens\":40", "\"max_text_tokens\":0"},
        {"\"silence_db\":null", "\"silence_db\":-40.0"},
        {"\"model\":{", "\"modle\":{"},
    };
    for (const auto& [before, after] : before_and_after) {
        write_file(bundle.path() + "/manifest.json", replaced(manifest, before, after));
        refused(bundle, after);
    }
    for (const char* field : {"width", "num_layers", "num_heads", "mlp_width", "max_positions", "max_samples", "num_kv_heads",
                              "head_width", "vocab_size", "vector", "norm_eps", "rms_eps", "rope_theta", "audio_token_id"})
        for (const char* value : {"-1", "9223372036854775807", "9223372036854775808", "1e400", "\"1\"", "null", "[]"}) {
            const std::string name = std::string("\"") + field + "\":";
            const std::size_t at = manifest.find(name) + name.size();
            const std::size_t end = manifest.find_first_of(",}", at);
            write_file(bundle.path() + "/manifest.json", manifest.substr(0, at) + value + manifest.substr(end));
            refused(bundle, name + value);
        }
}

void files_cut_anywhere() {
    const TinyBundle bundle;
    const std::string manifest = bundle.manifest(), weights = TinyBundle::weights(), tokenizer = TinyBundle::tokenizer();
    for (std::size_t n = 0; n < manifest.size(); n += 37) {
        write_file(bundle.path() + "/manifest.json", manifest.substr(0, n));
        refused(bundle, "a cut manifest");
    }
    write_file(bundle.path() + "/manifest.json", manifest);
    for (std::size_t n = 0; n < weights.size(); n += weights.size() / 40) {
        write_file(bundle.path() + "/weights.safetensors", weights.substr(0, n));
        refused(bundle, "cut weights");
    }
    // A tensor that is not where it was, or not what it was.
    for (const auto& [before, after] : {std::pair{"\"F32\"", "\"I32\""}, {"[2,240,16]", "[2,16,240]"}, {"conv1.panels", "conv3.panels"}}) {
        std::string text = weights;
        write_file(bundle.path() + "/weights.safetensors", replaced(text, before, after));
        refused(bundle, after);
    }
    write_file(bundle.path() + "/weights.safetensors", weights);
    for (std::size_t n = 0; n < tokenizer.size(); n += 101) {
        write_file(bundle.path() + "/tokenizer.json", tokenizer.substr(0, n));
        refused(bundle, "a cut tokenizer");
    }
    write_file(bundle.path() + "/tokenizer.json", tokenizer);
    CHECK(Model(bundle.path(), 1, 0).dim() == TinyBundle::kDim);
    std::filesystem::remove(bundle.path() + "/tokenizer.json");
    refused(bundle, "no tokenizer");
}

void narrow_weights() {
    // A table of bytes has a scale a row.
    const std::int8_t bytes[6] = {1, -2, 3, 127, -127, 0};
    const float scales[2] = {0.5f, 2.0f};
    const Table table{DType::int8, bytes, scales, 2, 3};
    float row[3];
    table.copy_row(1, row);
    CHECK(row[0] == 254.0f && row[1] == -254.0f && row[2] == 0.0f);
}

}  // namespace

int main() {
    numbers_that_cannot_be();
    files_cut_anywhere();
    narrow_weights();
}

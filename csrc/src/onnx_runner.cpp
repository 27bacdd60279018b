#include "onnx_runner.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "error.h"
#include "json.h"
#include "logmel.h"
#include "mapped_file.h"
#include "onnx_inputs.h"
#include "onnx_runtime.h"

namespace harken {
namespace {

Json read_json(const std::string& path) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

// What harken's Python engine compares.
constexpr const char* kCompared[] = {"weights_sha256", "adapter_sha256", "recipe",
                                     "recipe_sha256",  "front_end",      "dtype"};

using Fingerprint = std::array<std::string, std::size(kCompared)>;

Fingerprint read_fingerprint(const Json& manifest, const std::string& where) {
    return naming(where, [&] {
        const Json& json = manifest.at("fingerprint");
        Fingerprint values;
        for (std::size_t i = 0; i < values.size(); ++i) {
            const Json* value = json.find(kCompared[i]);
            values[i] = value == nullptr ? "none" : value->as_string();
        }
        return values;
    });
}

void require_same_model(const Json& graphs, const std::string& where, const Bundle& bundle) {
    const std::string own = bundle.folder() + "/manifest.json";
    const Fingerprint got = read_fingerprint(graphs, where), wanted = read_fingerprint(read_json(own), own);
    for (std::size_t i = 0; i < got.size(); ++i)
        if (got[i] != wanted[i])
            throw Error(HARKEN_FINGERPRINT_ERROR, where + ": is not of the model in " + bundle.folder() + ": " +
                                                      kCompared[i] + " is " + got[i] + ", wanted " + wanted[i]);
}

/// What the manifest of an export says.
struct Described {
    bool two_heads = false, contents = false;
};

Described read_described(const std::string& folder, const Bundle& bundle) {
    const std::string where = folder + "/manifest.json";
    const Json json = read_json(where);
    return naming(where, [&] {
        if (json.at("format").as_string() != "harken-export" || json.at("target").as_string() != "onnx")
            throw Error(HARKEN_FILE_FORMAT_ERROR, where + ": is no manifest of an export to ONNX");
        require_same_model(json, where, bundle);
        const Json& embedder = json.at("graphs").at("embedder");
        return Described{embedder.at("outputs").as_array().size() == 2,
                         embedder.at("inputs").find("contents") != nullptr};
    });
}

class OnnxRunner final : public Runner {
  public:
    OnnxRunner(const Bundle& bundle, const std::string& folder, const std::string& library, int num_threads)
        : bundle_(bundle),
          described_(read_described(folder, bundle)),
          logmel_(mel_spec(bundle.tower.front_end)),
          runtime_(std::make_shared<const OnnxRuntime>(library)),
          tower_(runtime_, folder + "/audio_tower.onnx", num_threads),
          embedder_(runtime_, folder + "/embedder.onnx", num_threads) {}

    [[nodiscard]] const char* name() const noexcept override { return runtime_->name().c_str(); }
    [[nodiscard]] bool pads() const noexcept override { return true; }
    void run(const std::vector<std::span<const float>>& clips, const std::vector<const Prompt*>& prompts,
             float* vectors, ThreadPool& pool) const override;

  private:
    [[nodiscard]] OnnxOutput hear(const std::vector<std::span<const float>>& clips, ThreadPool& pool) const;

    const Bundle& bundle_;
    Described described_;
    LogMel logmel_;
    std::shared_ptr<const OnnxRuntime> runtime_;
    OnnxGraph tower_, embedder_;
};

void require_shape(const OnnxOutput& output, std::int64_t rows, std::size_t width, const char* graph) {
    if (output.shape != std::vector<std::int64_t>{rows, static_cast<std::int64_t>(width)})
        throw Error(HARKEN_MODEL_ERROR, std::string(graph) + ".onnx gives another shape than [" + std::to_string(rows) +
                                            ", " + std::to_string(width) + "]");
}

OnnxOutput OnnxRunner::hear(const std::vector<std::span<const float>>& clips, ThreadPool& pool) const {
    const TowerInputs made = tower_inputs(clips, bundle_.tower, logmel_, pool);
    const std::int64_t num_tokens = static_cast<std::int64_t>(made.tokens.size() / 2);
    const OnnxInput inputs[] = {
        {"mel", {made.num_segments, made.num_mels, made.num_frames}, std::span(made.mel.data(), made.mel.size())},
        {"num_rows", {made.num_segments}, std::span(made.num_rows)},
        {"num_keys", {made.num_segments}, std::span(made.num_keys)},
        {"tokens", {num_tokens, 2}, std::span(made.tokens)},
    };
    OnnxOutput rows = tower_.run(inputs, "audio_rows");
    require_shape(rows, num_tokens, bundle_.decoder.width, "audio_tower");
    return rows;
}

void OnnxRunner::run(const std::vector<std::span<const float>>& clips, const std::vector<const Prompt*>& prompts,
                     float* vectors, ThreadPool& pool) const {
    const std::int64_t width = static_cast<std::int64_t>(bundle_.decoder.width);
    OnnxOutput rows;
    if (clips.empty()) {
        // The graph wants a row, which goes unused.
        rows = {{1, width}, Buffer<float>(bundle_.decoder.width)};
        std::fill_n(rows.values.data(), rows.values.size(), 0.0f);
    } else {
        rows = hear(clips, pool);
    }
    const PromptInputs made = prompt_inputs(prompts);
    std::vector<OnnxInput> inputs = {
        {"token_ids", {made.num_prompts, made.num_rows}, std::span(made.token_ids)},
        {"audio_rows", rows.shape, std::span<const float>(rows.values.data(), rows.values.size())},
        {"audio_index", {made.num_prompts, made.num_rows}, std::span(made.audio_index)},
        {"lengths", {made.num_prompts}, std::span(made.lengths)},
    };
    if (described_.contents) inputs.push_back({"contents", {made.num_prompts, 2}, std::span(made.contents)});
    const char* output = !described_.two_heads ? "vectors" : clips.empty() ? "text_vectors" : "audio_vectors";
    const OnnxOutput found = embedder_.run(inputs, output);
    require_shape(found, made.num_prompts, bundle_.dim, "embedder");
    std::copy_n(found.values.data(), found.values.size(), vectors);
}

}  // namespace

std::unique_ptr<const Runner> make_onnx_runner(const Bundle& bundle, const std::string& folder,
                                               const std::string& library, int num_threads) {
    return std::make_unique<OnnxRunner>(bundle, folder, library, num_threads);
}

}  // namespace harken

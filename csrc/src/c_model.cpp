#include <algorithm>
#include <cstring>
#include <memory>

#include "c_common.h"
#include "clip.h"
#include "model.h"
#include "model_to_cuda.h"
#include "onnx_runner.h"
#include "sound_file.h"

struct harken_model {
    harken::Model model;
};

namespace harken {
namespace {

std::optional<std::string_view> optional_text(const char* text) {
    return text == nullptr ? std::nullopt : std::optional<std::string_view>(text);
}

harken_model_options read_options(const harken_model_options* given) {
    harken_model_options options{};
    if (given == nullptr) return options;
    if (given->struct_size < sizeof(std::uint32_t) || given->struct_size > 4096)
        throw Error(HARKEN_INVALID_ARGUMENT, "harken_model_load: struct_size is " + std::to_string(given->struct_size) +
                                                 "; wanted sizeof(harken_model_options)");
    std::memcpy(&options, given, std::min<std::size_t>(given->struct_size, sizeof options));
    return options;
}

std::vector<Model::Source> sources_of(const harken_clip* clips, std::size_t num_clips) {
    std::vector<Model::Source> sources;
    for (std::size_t i = 0; i < num_clips; ++i) {
        const harken_clip& clip = clips[i];
        const std::string name = "clips[" + std::to_string(i) + "]";
        sources.push_back({name, [&clip, name](const Recipe& recipe, std::uint32_t rate_hz) {
                               if (clip.num_samples > 0) require(clip.samples, name.c_str(), "samples");
                               return prepare_clip({clip.samples, clip.num_samples}, clip.sample_rate_hz, rate_hz, recipe, name);
                           }});
    }
    return sources;
}

std::vector<std::string_view> views_of(const char* const* texts, const std::size_t* lengths, std::size_t num_texts,
                                       const char* function) {
    require(texts, function, "texts");
    std::vector<std::string_view> views;
    for (std::size_t i = 0; i < num_texts; ++i) {
        require(texts[i], function, "a text");
        views.push_back(lengths == nullptr ? std::string_view(texts[i]) : std::string_view(texts[i], lengths[i]));
    }
    return views;
}

Model::OnFailure told(harken_on_failure on_failure, void* user) {
    if (on_failure == nullptr) return {};
    return [=](std::size_t item, harken_status status, const char* text) { on_failure(user, item, status, text); };
}

}  // namespace
}  // namespace harken

using harken::Error;
using harken::guarded;
using harken::Model;
using harken::require;

extern "C" {

harken_status harken_model_load(const char* folder, const harken_model_options* options, harken_model** model) {
    return guarded([&] {
        require(model, "harken_model_load", "model");
        *model = nullptr;
        require(folder, "harken_model_load", "folder");
        const harken_model_options chosen = harken::read_options(options);
        std::unique_ptr<harken_model> loaded(new harken_model{Model(folder, chosen.num_threads, chosen.batch_tokens)});
        Model& made = loaded->model;
        if (chosen.onnx_folder != nullptr) {
            const char* library = chosen.onnxruntime_library == nullptr ? "" : chosen.onnxruntime_library;
            made.use(harken::make_onnx_runner(made.bundle(), chosen.onnx_folder, library, made.num_threads()));
        }
        *model = loaded.release();
    });
}

void harken_model_free(harken_model* model) { delete model; }
size_t harken_model_dim(const harken_model* model) { return model->model.dim(); }
uint32_t harken_model_sample_rate_hz(const harken_model* model) { return model->model.sample_rate_hz(); }
const char* harken_model_fingerprint(const harken_model* model) { return model->model.fingerprint().c_str(); }
const char* harken_model_runner(const harken_model* model) { return model->model.runner_name(); }

harken_status harken_model_to_cuda(harken_model* model, int32_t device) {
    return guarded([&] {
        require(model, "harken_model_to_cuda", "model");
        harken::model_to_cuda(model->model, device);
    });
}

harken_status harken_model_encode_audio(const harken_model* model, const harken_clip* clips, size_t num_clips,
                                        const char* instruction, float* vectors, harken_on_failure on_failure, void* user) {
    return guarded([&] {
        if (num_clips == 0) return;
        require(model, "harken_model_encode_audio", "model");
        require(clips, "harken_model_encode_audio", "clips");
        require(vectors, "harken_model_encode_audio", "vectors");
        model->model.encode_audio(harken::sources_of(clips, num_clips), harken::optional_text(instruction), vectors,
                                  harken::told(on_failure, user));
    });
}

harken_status harken_model_encode_audio_text(const harken_model* model, const harken_clip* clips, const char* const* texts,
                                             const size_t* lengths, size_t num_clips, const char* instruction, float* vectors,
                                             harken_on_failure on_failure, void* user) {
    return guarded([&] {
        if (num_clips == 0) return;
        constexpr const char* kName = "harken_model_encode_audio_text";
        require(model, kName, "model");
        require(clips, kName, "clips");
        require(vectors, kName, "vectors");
        model->model.encode_audio_text(harken::sources_of(clips, num_clips), harken::views_of(texts, lengths, num_clips, kName),
                                       harken::optional_text(instruction), vectors, harken::told(on_failure, user));
    });
}

harken_status harken_model_encode_files(const harken_model* model, const char* const* paths, size_t num_paths,
                                        const char* instruction, float* vectors, harken_on_failure on_failure, void* user) {
    return guarded([&] {
        if (num_paths == 0) return;
        require(model, "harken_model_encode_files", "model");
        require(paths, "harken_model_encode_files", "paths");
        require(vectors, "harken_model_encode_files", "vectors");
        std::vector<Model::Source> sources;
        for (std::size_t i = 0; i < num_paths; ++i) {
            require(paths[i], "harken_model_encode_files", "a path");
            const std::string path = paths[i];
            sources.push_back({path, [path](const harken::Recipe& recipe, std::uint32_t rate_hz) {
                                   const harken::Sound sound = harken::read_sound(path);
                                   return harken::prepare_clip(sound.samples, static_cast<std::uint32_t>(sound.rate_hz),
                                                               rate_hz, recipe, path);
                               }});
        }
        model->model.encode_audio(sources, harken::optional_text(instruction), vectors, harken::told(on_failure, user));
    });
}

harken_status harken_model_encode_text(const harken_model* model, const char* const* texts, const size_t* lengths,
                                       size_t num_texts, const char* instruction, float* vectors) {
    return guarded([&] {
        if (num_texts == 0) return;
        require(model, "harken_model_encode_text", "model");
        require(vectors, "harken_model_encode_text", "vectors");
        model->model.encode_text(harken::views_of(texts, lengths, num_texts, "harken_model_encode_text"),
                                 harken::optional_text(instruction), vectors);
    });
}

harken_status harken_model_tokenize(const harken_model* model, const char* text, size_t num_bytes, int32_t* ids,
                                    size_t capacity, size_t* num_ids) {
    return guarded([&] {
        require(model, "harken_model_tokenize", "model");
        require(num_ids, "harken_model_tokenize", "num_ids");
        if (num_bytes > 0) require(text, "harken_model_tokenize", "text");
        if (capacity > 0) require(ids, "harken_model_tokenize", "ids");
        const std::vector<std::int32_t> found = model->model.tokenizer().encode({text, num_bytes});
        *num_ids = found.size();
        if (found.size() > capacity)
            throw Error(HARKEN_INVALID_ARGUMENT, "harken_model_tokenize: " + std::to_string(found.size()) +
                                                     " ids do not fit the capacity of " + std::to_string(capacity));
        std::copy(found.begin(), found.end(), ids);
    });
}

}  // extern "C"

#include "model.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "binding.h"
#include "clip.h"
#include "error.h"
#include "model_to_cuda.h"
#include "onnx_runner.h"
#include "sound_file.h"

namespace py = pybind11;

namespace harken {
namespace {

using Samples = py::array_t<float, py::array::c_style | py::array::forcecast>;

std::unique_ptr<Model> load(const std::string& folder, std::size_t num_threads, std::size_t batch_tokens,
                            const std::string& onnx_folder, const std::string& onnxruntime_library) {
    auto model = std::make_unique<Model>(folder, num_threads, batch_tokens);
    if (!onnx_folder.empty())
        model->use(make_onnx_runner(model->bundle(), onnx_folder, onnxruntime_library, model->num_threads()));
    return model;
}

py::array_t<float> room_for(std::size_t n, const Model& model) {
    return py::array_t<float>({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(model.dim())});
}

using Sound = std::pair<Samples, std::uint32_t>;

Model::Source source_of(const Sound& sound, std::size_t i) {
    const auto& [samples, sample_rate_hz] = sound;
    const std::string name = "clips[" + std::to_string(i) + "]";
    if (samples.ndim() != 1)
        throw Error(HARKEN_INVALID_ARGUMENT, name + ": wanted samples [n], got " + std::to_string(samples.ndim()) + " dimensions");
    const std::span<const float> view(samples.data(), static_cast<std::size_t>(samples.size()));
    return {name, [view, rate = sample_rate_hz, name](const Recipe& recipe, std::uint32_t rate_hz) {
                return prepare_clip(view, rate, rate_hz, recipe, name);
            }};
}

py::array_t<float> encode_audio_text(const Model& model, const std::vector<std::pair<Sound, std::string>>& pairs,
                                     const std::optional<std::string>& instruction) {
    std::vector<Model::Source> sources;
    std::vector<std::string_view> texts;
    for (const auto& [sound, text] : pairs) {
        sources.push_back(source_of(sound, sources.size()));
        texts.push_back(text);
    }
    py::array_t<float> vectors = room_for(pairs.size(), model);
    float* out = vectors.mutable_data();
    const py::gil_scoped_release unlocked;
    model.encode_audio_text(sources, texts, instruction, out, {});
    return vectors;
}

py::array_t<float> encode_audio(const Model& model, const std::vector<Sound>& clips,
                                const std::optional<std::string>& instruction) {
    std::vector<Model::Source> sources;
    for (const Sound& clip : clips) sources.push_back(source_of(clip, sources.size()));
    py::array_t<float> vectors = room_for(clips.size(), model);
    float* out = vectors.mutable_data();
    const py::gil_scoped_release unlocked;
    model.encode_audio(sources, instruction, out, {});
    return vectors;
}

py::array_t<float> encode_files(const Model& model, const std::vector<std::string>& paths,
                                const std::optional<std::string>& instruction) {
    std::vector<Model::Source> sources;
    for (const std::string& path : paths)
        sources.push_back({path, [path](const Recipe& recipe, std::uint32_t rate_hz) {
                               const auto sound = read_sound(path);
                               return prepare_clip(sound.samples, static_cast<std::uint32_t>(sound.rate_hz), rate_hz, recipe, path);
                           }});
    py::array_t<float> vectors = room_for(paths.size(), model);
    float* out = vectors.mutable_data();
    const py::gil_scoped_release unlocked;
    model.encode_audio(sources, instruction, out, {});
    return vectors;
}

py::array_t<float> encode_text(const Model& model, const std::vector<std::string>& texts,
                               const std::optional<std::string>& instruction) {
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    py::array_t<float> vectors = room_for(texts.size(), model);
    float* out = vectors.mutable_data();
    const py::gil_scoped_release unlocked;
    model.encode_text(views, instruction, out);
    return vectors;
}

}  // namespace

void bind_model(py::module_& module) {
    py::class_<Model>(module, "Model", py::module_local(), "A bundle folder: sounds and sentences in, vectors of one space out.")
        .def(py::init(&load), py::arg("folder"), py::kw_only(), py::arg("num_threads") = 0, py::arg("batch_tokens") = 0,
             py::arg("onnx_folder") = "", py::arg("onnxruntime_library") = "", py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("dim", &Model::dim)
        .def_property_readonly("sample_rate_hz", &Model::sample_rate_hz)
        .def_property_readonly("fingerprint", &Model::fingerprint)
        .def_property_readonly("runner", &Model::runner_name)
        .def("to_cuda", &model_to_cuda, py::arg("device") = 0, py::call_guard<py::gil_scoped_release>(),
             "Encode on a CUDA device from now on. Not while other threads use the model.")
        .def("encode_audio", &encode_audio, py::arg("clips"), py::kw_only(), py::arg("instruction") = py::none(),
             "Vectors [n, dim] of (samples [n] float32, rate in Hz) pairs.")
        .def("encode_audio_text", &encode_audio_text, py::arg("pairs"), py::kw_only(), py::arg("instruction") = py::none(),
             "Vectors [n, dim] of ((samples [n] float32, rate in Hz), text) pairs.")
        .def("encode_files", &encode_files, py::arg("paths"), py::kw_only(), py::arg("instruction") = py::none(),
             "Vectors [n, dim] of sound files (WAV, FLAC).")
        .def("encode_text", &encode_text, py::arg("texts"), py::kw_only(), py::arg("instruction") = py::none(),
             "Vectors [n, dim] of sentences.")
        .def("tokenize", [](const Model& model, const std::string& text) { return model.tokenizer().encode(text); },
             py::arg("text"));
}

}  // namespace harken

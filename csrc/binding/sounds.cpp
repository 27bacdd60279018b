#include <pybind11/numpy.h>

#include "binding.h"
#include "resample.h"
#include "sound_file.h"

namespace py = pybind11;

namespace harken {
namespace {

using Samples = py::array_t<float, py::array::c_style | py::array::forcecast>;

Samples as_array(const std::vector<float>& samples) {
    return Samples(static_cast<py::ssize_t>(samples.size()), samples.data());
}

py::tuple as_tuple(const Sound& sound) { return py::make_tuple(as_array(sound.samples), sound.rate_hz); }

Sound read(const std::string& path) {
    const py::gil_scoped_release unlocked;
    return read_sound(path);
}

Sound decode(std::string_view bytes, const std::string& name) {
    const py::gil_scoped_release unlocked;
    return read_sound({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, name);
}

Samples change_rate(const Samples& samples, int from_hz, int to_hz) {
    std::vector<float> changed;
    {
        const py::gil_scoped_release unlocked;
        changed = resample({samples.data(), static_cast<std::size_t>(samples.size())}, from_hz, to_hz);
    }
    return as_array(changed);
}

}  // namespace

void bind_sounds(py::module_& module) {
    module.def(
        "read_sound", [](const std::string& path) { return as_tuple(read(path)); }, py::arg("path"),
        "(samples [n] float32, rate in Hz) of a WAV or FLAC file.");
    module.def(
        "decode_sound", [](const py::bytes& bytes, const std::string& name) { return as_tuple(decode(bytes, name)); },
        py::arg("bytes"), py::arg("name") = "<bytes>");
    module.def("resample", &change_rate, py::arg("samples"), py::arg("from_hz"), py::arg("to_hz"));
}

}  // namespace harken

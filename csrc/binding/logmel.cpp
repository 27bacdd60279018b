#include "logmel.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>

#include "binding.h"
#include "error.h"

namespace py = pybind11;

namespace harken {
namespace {

template <typename T>
using Dense = py::array_t<T, py::array::c_style | py::array::forcecast>;

LogMel make(std::string name, int sample_rate_hz, int n_fft, int win_length, int hop_length, int num_mels,
            double f_min_hz, double f_max_hz, const std::string& mel_scale, const std::optional<std::string>& mel_norm,
            const std::string& right_edge, double floor, double log_gain, std::optional<double> max_range, double shift,
            double divisor) {
    return LogMel({std::move(name), sample_rate_hz, n_fft, win_length, hop_length, num_mels, f_min_hz, f_max_hz,
                   mel_scale == "htk" ? MelScale::htk : MelScale::slaney, mel_norm.has_value(),
                   right_edge == "reflect" ? RightEdge::reflect : RightEdge::zeros, floor, log_gain,
                   max_range.value_or(std::numeric_limits<double>::infinity()), shift, divisor});
}

void compute(const LogMel& logmel, ThreadPool& pool, const Dense<float>& samples, const Dense<std::int64_t>& starts,
             py::array_t<float, py::array::c_style>& out, std::size_t extra_frames,
             std::optional<std::size_t> max_samples) {
    const std::size_t cap = max_samples.value_or(LogMel::no_cap);
    const std::span<const std::int64_t> places(starts.data(), static_cast<std::size_t>(starts.size()));
    std::size_t num_rows = 0;
    for (std::size_t i = 0; i + 1 < places.size(); ++i) {
        if (places[i] < 0 || places[i + 1] <= places[i] || places[i + 1] > samples.size())
            throw Error(HARKEN_INVALID_ARGUMENT, "LogMel.compute: starts must rise from 0 to the number of samples");
        num_rows += logmel.num_rows(static_cast<std::size_t>(places[i + 1] - places[i]), extra_frames, cap);
    }
    if (out.ndim() != 2 || out.shape(0) != static_cast<py::ssize_t>(num_rows) || out.shape(1) != logmel.spec().num_mels)
        throw Error(HARKEN_INVALID_ARGUMENT, "LogMel.compute: out must be [" + std::to_string(num_rows) + ", " +
                                                 std::to_string(logmel.spec().num_mels) + "]");
    float* const to = out.mutable_data();
    const py::gil_scoped_release unlocked;
    logmel.compute_all(samples.data(), places, to, extra_frames, cap, pool);
}

std::size_t find_not_finite(const Dense<float>& samples) {
    const std::span<const float> view(samples.data(), static_cast<std::size_t>(samples.size()));
    const py::gil_scoped_release unlocked;
    return first_not_finite(view);
}

}  // namespace

void bind_logmel(py::module_& module) {
    py::class_<LogMel>(module, "LogMel", py::module_local(),
                       "A front end; the fields are those of kernels.logmel_spec.LogMelSpec.")
        .def(py::init(&make), py::kw_only(), py::arg("name"), py::arg("sample_rate_hz"), py::arg("n_fft"),
             py::arg("win_length"), py::arg("hop_length"), py::arg("num_mels"), py::arg("f_min_hz"),
             py::arg("f_max_hz"), py::arg("mel_scale"), py::arg("mel_norm"), py::arg("right_edge"), py::arg("floor"),
             py::arg("log_gain"), py::arg("max_range"), py::arg("shift"), py::arg("divisor"))
        .def("compute", &compute, py::arg("pool"), py::arg("samples"), py::arg("starts"), py::arg("out").noconvert(),
             py::arg("extra_frames") = 0, py::arg("max_samples") = py::none(),
             "Fill out [rows, num_mels] with the rows of clips that lie end to end; starts is [clips + 1].");
    module.def("first_not_finite", &find_not_finite, py::arg("samples"),
               "Place of the first NaN or infinity, or how many there are.");
}

}  // namespace harken

#include <pybind11/stl.h>

#include "binding.h"
#include "tokenizer.h"

namespace py = pybind11;

namespace harken {

void bind_text(py::module_& module) {
    py::class_<Tokenizer>(module, "Tokenizer", py::module_local(), "Byte-level BPE of a tokenizer.json.")
        .def(py::init(&Tokenizer::from_file), py::arg("path"), py::call_guard<py::gil_scoped_release>())
        .def(
            "encode", [](const Tokenizer& self, const std::string& text) { return self.encode(text); }, py::arg("text"),
            py::call_guard<py::gil_scoped_release>(), "Ids of a text (str, or bytes of UTF-8 with errors).")
        .def(
            "token_id", [](const Tokenizer& self, const std::string& token) { return self.token_id(token); },
            py::arg("token"))
        .def_property_readonly("vocab_size", &Tokenizer::vocab_size);
}

}  // namespace harken

#include <pybind11/numpy.h>

#include "binding.h"
#include "error.h"
#include "index_file.h"

namespace py = pybind11;

namespace harken {
namespace {

using Queries = py::array_t<float, py::array::c_style | py::array::forcecast>;

py::tuple search(const IndexFile& index, ThreadPool& pool, const Queries& queries, std::size_t k) {
    if (queries.ndim() != 2 || queries.shape(1) != static_cast<py::ssize_t>(index.dim()))
        throw Error(HARKEN_INVALID_ARGUMENT,
                    "IndexFile.search: wanted queries [q, " + std::to_string(index.dim()) + "]");
    py::array_t<float> scores({queries.shape(0), static_cast<py::ssize_t>(k)});
    py::array_t<std::int64_t> ids({queries.shape(0), static_cast<py::ssize_t>(k)});
    float* const scores_out = scores.mutable_data();
    std::int64_t* const ids_out = ids.mutable_data();
    {
        const py::gil_scoped_release unlocked;
        topk(index.corpus(), queries.data(), static_cast<std::size_t>(queries.shape(0)), k, nullptr, scores_out,
             ids_out, pool);
    }
    return py::make_tuple(scores, ids);
}

std::string_view id_of(const IndexFile& index, std::size_t row) {
    if (row >= index.size())
        throw Error(HARKEN_INVALID_ARGUMENT,
                    "IndexFile.id: row is " + std::to_string(row) + "; there are " + std::to_string(index.size()));
    return index.id(row);
}

}  // namespace

void bind_index(py::module_& module) {
    py::class_<IndexFile>(module, "IndexFile", py::module_local(), "An index folder, mapped.")
        .def(py::init<const std::string&>(), py::arg("folder"), py::call_guard<py::gil_scoped_release>())
        .def("__len__", &IndexFile::size)
        .def_property_readonly("dim", &IndexFile::dim)
        .def_property_readonly("fingerprint", &IndexFile::fingerprint)
        .def("id", &id_of, py::arg("row"))
        .def("search", &search, py::arg("pool"), py::arg("queries"), py::arg("k"), "(scores [q, k], rows [q, k]).");
}

}  // namespace harken

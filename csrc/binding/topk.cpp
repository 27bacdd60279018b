#include "topk.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <vector>

#include "binding.h"
#include "error.h"

namespace py = pybind11;

namespace harken {
namespace {

template <typename T>
using Dense = py::array_t<T, py::array::c_style | py::array::forcecast>;

DType corpus_dtype(const std::string& name) {
    for (const DType dtype : {DType::float32, DType::float16, DType::bfloat16, DType::int8})
        if (name == dtype_name(dtype)) return dtype;
    throw Error(HARKEN_INVALID_ARGUMENT, "topk: dtype is " + name + "; wanted float32, float16, bfloat16 or int8");
}

void require_shape(const py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
    bool same = array.ndim() == static_cast<py::ssize_t>(shape.size());
    py::ssize_t i = 0;
    for (const py::ssize_t size : shape) same = same && array.shape(i++) == size;
    if (!same)
        throw Error(HARKEN_INVALID_ARGUMENT,
                    std::string("topk: ") + name + " has another shape than the queries and rows ask for");
}

Corpus corpus_of(const py::array& rows, const std::string& dtype, const std::optional<Dense<float>>& scales) {
    Corpus corpus;
    corpus.dtype = corpus_dtype(dtype);
    const py::ssize_t item = static_cast<py::ssize_t>(dtype_bytes(corpus.dtype));
    if (rows.ndim() != 2 || rows.itemsize() != item ||
        (rows.size() != 0 && rows.shape(1) > 1 && rows.strides(1) != item) ||
        (rows.shape(0) > 1 && (rows.strides(0) < rows.shape(1) * item || rows.strides(0) % item != 0)))
        throw Error(HARKEN_INVALID_ARGUMENT,
                    "topk: wanted rows [n, width] of " + dtype + " that lie one after another");
    corpus.rows = rows.data();
    corpus.num_rows = static_cast<std::size_t>(rows.shape(0));
    corpus.width = static_cast<std::size_t>(rows.shape(1));
    corpus.row_stride = corpus.num_rows > 1 ? static_cast<std::size_t>(rows.strides(0) / item) : 0;
    if (scales) {
        require_shape(*scales, "scales", {rows.shape(0)});
        corpus.scales = scales->data();
    }
    return corpus;
}

py::tuple search(ThreadPool& pool, const Dense<float>& queries, const py::array& rows, std::size_t k,
                 const std::string& dtype, const std::optional<Dense<float>>& scales,
                 const std::optional<Dense<std::uint8_t>>& keep, const std::optional<Dense<std::int64_t>>& exclude) {
    const Corpus corpus = corpus_of(rows, dtype, scales);
    if (queries.ndim() != 2) throw Error(HARKEN_INVALID_ARGUMENT, "topk: wanted queries [q, width]");
    const py::ssize_t num_queries = queries.shape(0);
    require_shape(queries, "queries", {num_queries, rows.shape(1)});
    std::vector<std::uint64_t> filter;
    if (keep) {
        require_shape(*keep, "keep", {(rows.shape(0) + 7) / 8});
        filter.resize(corpus.num_rows / 64 + 1);
        std::memcpy(filter.data(), keep->data(), static_cast<std::size_t>(keep->size()));
    }
    if (exclude) require_shape(*exclude, "exclude", {num_queries});
    py::array_t<float> scores({num_queries, static_cast<py::ssize_t>(k)});
    py::array_t<std::int64_t> ids({num_queries, static_cast<py::ssize_t>(k)});
    float* const scores_out = scores.mutable_data();
    std::int64_t* const ids_out = ids.mutable_data();
    std::size_t first_bad = 0;
    {
        const py::gil_scoped_release unlocked;
        first_bad = topk_unchecked(corpus, queries.data(), static_cast<std::size_t>(num_queries), k,
                                   keep ? filter.data() : nullptr, scores_out, ids_out, pool,
                                   exclude ? exclude->data() : nullptr);
    }
    return py::make_tuple(scores, ids, first_bad);
}

}  // namespace

void bind_topk(py::module_& module) {
    module.def("topk", &search, py::arg("pool"), py::arg("queries"), py::arg("rows"), py::arg("k"), py::kw_only(),
               py::arg("dtype"), py::arg("scales") = py::none(), py::arg("keep") = py::none(),
               py::arg("exclude") = py::none(),
               "(scores [q, k], ids [q, k], the first searched row that is not finite, or n).");
}

}  // namespace harken

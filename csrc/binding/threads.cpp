#include "threads.h"

#include "binding.h"

namespace py = pybind11;

namespace harken {

void bind_threads(py::module_& module) {
    py::class_<ThreadPool>(module, "ThreadPool", py::module_local(),
                           "Threads that the functions taking one share; not to be used in a forked child.")
        .def(py::init<int>(), py::arg("num_threads"), py::call_guard<py::gil_scoped_release>())
        .def("__len__", &ThreadPool::size);
}

}  // namespace harken

/// \file
/// One function a file of this folder, called by module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace harken {

void bind_errors(pybind11::module_& module);
void bind_index(pybind11::module_& module);
void bind_logmel(pybind11::module_& module);
void bind_model(pybind11::module_& module);
void bind_product(pybind11::module_& module);
void bind_sounds(pybind11::module_& module);
void bind_text(pybind11::module_& module);
void bind_threads(pybind11::module_& module);
void bind_topk(pybind11::module_& module);

}  // namespace harken

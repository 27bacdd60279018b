/// \file
/// One function a file of this folder, called by module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace harken {

void bind_errors(pybind11::module_& module);
void bind_model(pybind11::module_& module);

}  // namespace harken

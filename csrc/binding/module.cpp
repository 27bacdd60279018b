// harken.csrc._C: arrays and exceptions are turned here, nothing is decided. Types: csrc/_C.pyi.
#include "binding.h"

#include "harken/version.h"
#include "isa.h"

PYBIND11_MODULE(_C, module) {
    harken::bind_errors(module);
    harken::bind_model(module);
    module.attr("abi_version") = HARKEN_ABI_VERSION;
    module.def("cpu_isa", [] { return harken::isa_name(harken::cpu_isa()); });
}

// harken.csrc._C: arrays and exceptions are turned here, nothing is decided. Types: csrc/_C.pyi.
#include "binding.h"

#include "harken/version.h"
#include "isa.h"

PYBIND11_MODULE(_C, module) {
    harken::bind_errors(module);
    harken::bind_model(module);
    harken::bind_threads(module);
    harken::bind_topk(module);
    harken::bind_index(module);
    harken::bind_logmel(module);
    harken::bind_product(module);
    harken::bind_sounds(module);
    harken::bind_text(module);
    module.attr("abi_version") = HARKEN_ABI_VERSION;
    module.def("cpu_isa", [] { return harken::isa_name(harken::cpu_isa()); });
}

// harken::Error becomes the exception of harken.errors that says the same.
#include "error.h"

#include "binding.h"

namespace py = pybind11;

namespace harken {
namespace {

const char* python_name(harken_status code) {
    switch (code) {
        case HARKEN_INVALID_ARGUMENT: return "InputError";
        case HARKEN_AUDIO_ERROR: return "AudioError";
        case HARKEN_MODEL_ERROR: return "ModelError";
        case HARKEN_FILE_FORMAT_ERROR:
        case HARKEN_IO_ERROR: return "FileFormatError";
        case HARKEN_FINGERPRINT_ERROR: return "FingerprintError";
        case HARKEN_BACKEND_ERROR: return "BackendError";
        default: return "HarkenError";
    }
}

}  // namespace

void bind_errors(py::module_&) {
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            std::rethrow_exception(thrown);
        } catch (const Error& error) {
            const py::object kind = py::module_::import("harken.errors").attr(python_name(error.code()));
            PyErr_SetString(kind.ptr(), error.what());
        }
    });
}

}  // namespace harken

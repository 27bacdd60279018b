/// \file
/// A model's network in ONNX Runtime, from the graphs of `harken export --to onnx`.
#pragma once

#include <memory>
#include <string>

#include "bundle.h"
#include "runner.h"

namespace harken {

/// \param bundle       of the model; outlives the runner
/// \param folder       the graphs, exported from the same model in float32
/// \param library      of ONNX Runtime; empty: onnx_runtime.h says where it is looked for
/// \param num_threads  that a run may use
/// \throws Error       HARKEN_BACKEND_ERROR: ONNX Runtime is not there; HARKEN_FINGERPRINT_ERROR: graphs of another model;
///                     HARKEN_IO_ERROR, HARKEN_FILE_FORMAT_ERROR, HARKEN_MODEL_ERROR: no such export, or a damaged one
[[nodiscard]] std::unique_ptr<const Runner> make_onnx_runner(const Bundle& bundle, const std::string& folder,
                                                             const std::string& library, int num_threads);

}  // namespace harken

/// \file
/// The one exception of the library. The C interface turns it into a status and a text.
#pragma once

#include <stdexcept>
#include <string>

#include "harken/harken.h"

namespace harken {

/// Says who, got and wanted, naming the input; never thrown for a mistake of harken's own.
class Error : public std::runtime_error {
  public:
    Error(harken_status code, const std::string& text) : std::runtime_error(text), code_(code) {}

    /// HARKEN_INVALID_ARGUMENT, HARKEN_AUDIO_ERROR, HARKEN_MODEL_ERROR, HARKEN_FILE_FORMAT_ERROR, HARKEN_IO_ERROR, ...
    [[nodiscard]] harken_status code() const noexcept { return code_; }

  private:
    harken_status code_;
};

}  // namespace harken

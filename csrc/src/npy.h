/// \file
/// An array of a .npy file (format 1.0 to 3.0, C order, little endian), in place.
#pragma once

#include <span>
#include <string>

#include "tensor_view.h"

namespace harken {

/// \param bytes  the whole file, kept alive by the caller
/// \param where  what errors call it
/// \throws Error  HARKEN_FILE_FORMAT_ERROR: damaged, Fortran order, big endian, a dtype harken does not store
[[nodiscard]] TensorView read_npy(std::span<const std::byte> bytes, const std::string& where);

}  // namespace harken

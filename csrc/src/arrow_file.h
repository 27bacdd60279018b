/// \file
/// Strings of the first column of an Arrow IPC file, in place.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace harken {

/// The first column of an uncompressed file, which must be of type utf8 without nulls and have that name.
///
/// \param bytes  the whole file, kept alive by the caller
/// \throws Error  HARKEN_FILE_FORMAT_ERROR: no such file, damaged, another column
[[nodiscard]] std::vector<std::string_view> read_arrow_strings(std::span<const std::byte> bytes,
                                                               std::string_view column, const std::string& where);

}  // namespace harken

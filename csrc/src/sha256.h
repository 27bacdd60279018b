/// \file
/// SHA-256 (FIPS 180-4).
#pragma once

#include <string>
#include <string_view>

namespace harken {

/// 64 hexadecimal digits, lower case.
[[nodiscard]] std::string sha256(std::string_view text);

}  // namespace harken

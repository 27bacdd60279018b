/// \file
/// UTF-8, one character at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace harken::utf8 {

struct Decoded {
    char32_t code;  ///< U+FFFD where not valid
    std::size_t
        num_bytes;  ///< where not valid: the longest beginning of a character, or 1 (Unicode's recommended practice)
    bool valid;
};

/// The first character of a text that is not empty.
[[nodiscard]] Decoded decode(std::string_view text) noexcept;
void append(char32_t code, std::string& out);

}  // namespace harken::utf8

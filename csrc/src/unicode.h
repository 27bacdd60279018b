/// \file
/// Classes of characters and NFC, as the `tokenizers` library has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace harken::unicode {

inline constexpr std::uint8_t kLetter = 1;  ///< \p{L}
inline constexpr std::uint8_t kNumber = 2;  ///< \p{N}
inline constexpr std::uint8_t kSpace = 4;   ///< \s
inline constexpr std::uint8_t kWord = 8;    ///< \w of Rust's expressions, which added tokens that are single words meet
inline constexpr std::uint8_t kDigit = 16;  ///< what the pre-tokenizer Digits parts

/// The bits above.
[[nodiscard]] std::uint8_t classes(char32_t code) noexcept;

/// Normalization form C of UTF-8 without errors.
[[nodiscard]] std::string nfc(std::string_view text);

}  // namespace harken::unicode

/// \file
/// Pre-tokenizers: a text is parted into words, which byte pairs are then merged within.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace harken {

/// A text's characters: code, classes (unicode.h) and place.
struct Characters {
    /// \param text  UTF-8 without errors, kept alive by the caller
    explicit Characters(std::string_view text);

    [[nodiscard]] std::size_t size() const noexcept { return codes.size(); }
    /// The bytes of characters [first, last).
    [[nodiscard]] std::string_view bytes(std::size_t first, std::size_t last) const {
        return text.substr(begins[first], begins[last] - begins[first]);
    }

    std::string_view text;
    std::vector<char32_t> codes;
    std::vector<unsigned char> classes;
    std::vector<std::size_t> begins;  // [size + 1]
};

/// The steps of a file's "pre_tokenizer", each a known expression written out by hand.
///
/// Thread safety: any number of calls at once.
class WordSplitter {
  public:
    /// \param about  "pre_tokenizer" of tokenizer.json, or nullptr
    /// \throws Error  HARKEN_MODEL_ERROR: a step that is not known, by its name
    WordSplitter(const Json* about, const std::string& where);

    /// Ends of the words, in rising order; the last is the text's size in characters.
    [[nodiscard]] std::vector<std::size_t> split(const Characters& text) const;
    /// True where the bytes of words stand for themselves, as byte-level models want them.
    [[nodiscard]] bool byte_level() const noexcept { return byte_level_; }

  private:
    /// One past the end of the word that begins at `at`, in a text that ends at `end`.
    using Step = std::size_t (*)(const Characters& text, std::size_t at, std::size_t end);
    void add(const Json& about, const std::string& where);

    std::vector<Step> steps_;
    bool byte_level_ = false;
};

}  // namespace harken

/// \file
/// Templates as data: a string with {audio}, {text} and {instruction} becomes token ids with the places of the sounds marked.
/// The same rules as engine/text/template.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer.h"

namespace harken {

/// One input of the model.
struct Prompt {
    std::vector<std::int32_t> ids;
    std::size_t first_audio = 0, num_audio = 0;      ///< rows that audio tokens overwrite
    std::size_t first_content = 0, end_content = 0;  ///< rows of {audio} or {text} themselves
};

/// \param where   stands before the error
/// \throws Error  HARKEN_INVALID_ARGUMENT: the text holds no visible character
void check_text(std::string_view text, const std::string& where = "");

/// Thread safety: any number of calls at once.
class Template {
  public:
    /// \param tokenizer  outlives the template
    Template(const Tokenizer& tokenizer, std::string text, std::int32_t audio_token_id,
             std::optional<std::size_t> max_text_tokens, bool strip_end);

    [[nodiscard]] bool takes_instruction() const;
    /// \param text  where the template has a place for one
    [[nodiscard]] Prompt audio(std::size_t num_audio_tokens, std::string_view instruction, std::string_view text = {}) const;
    /// \throws Error  HARKEN_INVALID_ARGUMENT: the text holds no visible character
    [[nodiscard]] Prompt text(std::string_view text, std::string_view instruction) const;

  private:
    /// A normalized text, cut to what the recipe allows.
    [[nodiscard]] std::string fitted(std::string text) const;

    const Tokenizer& tokenizer_;
    std::string template_;
    std::int32_t audio_token_id_;
    std::optional<std::size_t> max_text_tokens_;
    bool strip_end_;
};

}  // namespace harken

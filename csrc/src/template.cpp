#include "template.h"

#include <algorithm>
#include <utility>

#include "error.h"
#include "utf8.h"

namespace harken {
namespace {

/// What Python's str.strip takes for a blank.
bool is_blank(char32_t c) noexcept {
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/// Bytes of a text up to its last visible character.
std::size_t visible_bytes(std::string_view text) noexcept {
    std::size_t visible = 0;
    for (std::size_t at = 0; at < text.size();) {
        const utf8::Decoded c = utf8::decode(text.substr(at));
        at += c.num_bytes;
        if (!is_blank(c.code)) visible = at;
    }
    return visible;
}

/// A part of a template with its place for something filled.
std::string filled(std::string_view part, std::string_view something, std::string_view place = "{instruction}") {
    std::string out;
    for (;;) {
        const std::size_t at = part.find(place);
        out += part.substr(0, at);
        if (at == std::string_view::npos) return out;
        out += something;
        part.remove_prefix(at + place.size());
    }
}

/// The text before and after a place that stands in the template once.
std::pair<std::string_view, std::string_view> around(std::string_view whole, std::string_view place) {
    const std::size_t at = whole.find(place);
    return {whole.substr(0, at), whole.substr(at + place.size())};
}

}  // namespace

void check_text(std::string_view text, const std::string& where) {
    if (visible_bytes(text) == 0)
        throw Error(HARKEN_INVALID_ARGUMENT, where + "a text is empty; wanted at least one visible character");
}

Template::Template(const Tokenizer& tokenizer, std::string text, std::int32_t audio_token_id,
                   std::optional<std::size_t> max_text_tokens, bool strip_end)
    : tokenizer_(tokenizer), template_(std::move(text)), audio_token_id_(audio_token_id),
      max_text_tokens_(max_text_tokens), strip_end_(strip_end) {}

bool Template::takes_instruction() const { return template_.find("{instruction}") != std::string::npos; }

Prompt Template::audio(std::size_t num_audio_tokens, std::string_view instruction, std::string_view text) const {
    const auto [before, after] = around(template_, "{audio}");
    const std::string content = fitted(tokenizer_.normalized(text));
    const auto encoded = [&](std::string_view part) {
        return tokenizer_.encode(filled(filled(part, instruction), content, "{text}"));
    };
    Prompt prompt;
    prompt.ids = encoded(before);
    prompt.first_audio = prompt.first_content = prompt.ids.size();
    prompt.num_audio = num_audio_tokens;
    prompt.ids.insert(prompt.ids.end(), num_audio_tokens, audio_token_id_);
    prompt.end_content = prompt.ids.size();
    const std::vector<std::int32_t> rest = encoded(after);
    prompt.ids.insert(prompt.ids.end(), rest.begin(), rest.end());
    return prompt;
}

Prompt Template::text(std::string_view text, std::string_view instruction) const {
    check_text(text);
    const std::string content = fitted(tokenizer_.normalized(text));
    const auto [before, after] = around(template_, "{text}");
    std::string whole = filled(before, instruction);
    const std::size_t first = whole.size(), end = first + content.size();
    whole.append(content).append(filled(after, instruction));
    Prompt prompt;
    const std::vector<Token> tokens = tokenizer_.encode_with_offsets(whole);
    prompt.first_content = tokens.size();
    for (const Token& token : tokens) {
        if (token.first < end && token.last > first) {
            prompt.first_content = std::min(prompt.first_content, prompt.ids.size());
            prompt.end_content = prompt.ids.size() + 1;
        }
        prompt.ids.push_back(token.id);
    }
    return prompt;
}

std::string Template::fitted(std::string text) const {
    if (strip_end_) text.resize(visible_bytes(text));
    if (!max_text_tokens_) return text;
    const std::vector<Token> tokens = tokenizer_.encode_with_offsets(text);
    if (tokens.size() <= *max_text_tokens_) return text;
    // A token may end inside a character, which then stays whole.
    std::size_t end = tokens[*max_text_tokens_ - 1].last;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
    text.resize(end);
    return text;
}

}  // namespace harken

#include "split_words.h"

#include "unicode.h"
#include "utf8.h"

namespace harken {
namespace {

constexpr unsigned char kAlnum = unicode::kLetter | unicode::kNumber;

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

bool is(const Characters& text, std::size_t at, unsigned char wanted) { return (text.classes[at] & wanted) != 0; }
bool is_break(const Characters& text, std::size_t at) { return text.codes[at] == '\r' || text.codes[at] == '\n'; }

/// One past the run of characters that have one of the classes, or none of them.
std::size_t run_of(const Characters& text, std::size_t at, std::size_t end, unsigned char wanted, bool has = true) {
    while (at < end && is(text, at, wanted) == has) ++at;
    return at;
}

/// 's 't 're 've 'm 'll 'd; 0 where there is none.
std::size_t contraction(const Characters& text, std::size_t at, std::size_t end, bool any_case) {
    const auto letter = [&](std::size_t i) -> char32_t {
        if (i >= end) return 0;
        const char32_t c = text.codes[i];
        if (!any_case) return c;
        // U+017F, the long s, is an s in another case.
        return c >= 'A' && c <= 'Z' ? c + 32 : c == 0x17f ? 's' : c;
    };
    if (text.codes[at] != '\'') return 0;
    const char32_t first = letter(at + 1), second = letter(at + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    const bool two =
        (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
    return two ? at + 3 : 0;
}

/// \s+(?!\S)|\s+: white space gives its last character to the word that follows, if it has others.
std::size_t spaces(const Characters& text, std::size_t at, std::size_t end) {
    const std::size_t stop = run_of(text, at, end, unicode::kSpace);
    return stop < end && stop - at > 1 ? stop - 1 : stop;
}

std::size_t gpt2(const Characters& text, std::size_t at, std::size_t end) {
    if (const std::size_t stop = contraction(text, at, end, false)) return stop;
    const std::size_t word = text.codes[at] == ' ' && at + 1 < end ? at + 1 : at;
    if (is(text, word, unicode::kLetter)) return run_of(text, word, end, unicode::kLetter);
    if (is(text, word, unicode::kNumber)) return run_of(text, word, end, unicode::kNumber);
    if (!is(text, word, unicode::kSpace)) return run_of(text, word, end, kAlnum | unicode::kSpace, false);
    return spaces(text, at, end);
}

template <std::size_t kMaxNumbers>
std::size_t qwen2(const Characters& text, std::size_t at, std::size_t end) {
    if (const std::size_t stop = contraction(text, at, end, true)) return stop;
    if (is(text, at, unicode::kLetter)) return run_of(text, at, end, unicode::kLetter);
    if (is(text, at, unicode::kNumber)) return run_of(text, at, std::min(end, at + kMaxNumbers), unicode::kNumber);
    if (!is_break(text, at) && at + 1 < end && is(text, at + 1, unicode::kLetter))
        return run_of(text, at + 1, end, unicode::kLetter);
    const std::size_t mark = text.codes[at] == ' ' && at + 1 < end ? at + 1 : at;
    if (!is(text, mark, kAlnum | unicode::kSpace)) {
        std::size_t stop = run_of(text, mark, end, kAlnum | unicode::kSpace, false);
        while (stop < end && is_break(text, stop)) ++stop;
        return stop;
    }
    // \s*[\r\n]+: up to the last line break of the white space.
    for (std::size_t stop = run_of(text, at, end, unicode::kSpace); stop > at; --stop)
        if (is_break(text, stop - 1)) return stop;
    return spaces(text, at, end);
}

std::size_t each_digit(const Characters& text, std::size_t at, std::size_t end) {
    return is(text, at, unicode::kDigit) ? at + 1 : run_of(text, at, end, unicode::kDigit, false);
}

std::size_t runs_of_digits(const Characters& text, std::size_t at, std::size_t end) {
    return run_of(text, at, end, unicode::kDigit, is(text, at, unicode::kDigit));
}

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
    throw Error(HARKEN_MODEL_ERROR, where + ": pre-tokenizer " + what + " is not read here");
}

bool flag(const Json& about, std::string_view name, bool otherwise) {
    const Json* value = about.find(name);
    return value ? value->as_bool() : otherwise;
}

}  // namespace

Characters::Characters(std::string_view all) : text(all) {
    codes.reserve(all.size());
    for (std::size_t at = 0; at < all.size();) {
        const utf8::Decoded character = utf8::decode(all.substr(at));
        codes.push_back(character.code);
        classes.push_back(unicode::classes(character.code));
        begins.push_back(at);
        at += character.num_bytes;
    }
    begins.push_back(all.size());
}

WordSplitter::WordSplitter(const Json* about, const std::string& where) {
    if (about != nullptr) add(*about, where);
}

void WordSplitter::add(const Json& about, const std::string& where) {
    const std::string& type = about.at("type").as_string();
    if (byte_level_) refuse(where, type + " after ByteLevel");
    if (type == "Sequence") {
        for (const Json& step : about.at("pretokenizers").as_array()) add(step, where);
    } else if (type == "Digits") {
        steps_.push_back(flag(about, "individual_digits", false) ? each_digit : runs_of_digits);
    } else if (type == "ByteLevel") {
        if (flag(about, "add_prefix_space", true)) refuse(where, "ByteLevel with add_prefix_space");
        if (flag(about, "use_regex", true)) steps_.push_back(gpt2);
        byte_level_ = true;
    } else if (type == "Split") {
        const Json* regex = about.at("pattern").find("Regex");
        const std::string& pattern = regex ? regex->as_string() : about.at("pattern").at("String").as_string();
        if (flag(about, "invert", false) || about.at("behavior").as_string() != "Isolated" || !regex)
            refuse(where, "Split of another kind than Isolated by an expression");
        if (pattern == kGpt2) {
            steps_.push_back(gpt2);
        } else if (pattern == kQwen2) {
            steps_.push_back(qwen2<1>);
        } else if (pattern == kLlama3) {
            steps_.push_back(qwen2<3>);
        } else {
            refuse(where, "Split by " + pattern);
        }
    } else {
        refuse(where, type);
    }
}

std::vector<std::size_t> WordSplitter::split(const Characters& text) const {
    std::vector<std::size_t> ends;
    if (text.size() != 0) ends.push_back(text.size());
    for (const Step step : steps_) {
        std::vector<std::size_t> finer;
        std::size_t at = 0;
        for (const std::size_t end : ends)
            while (at < end) finer.push_back(at = step(text, at, end));
        ends = std::move(finer);
    }
    return ends;
}

}  // namespace harken

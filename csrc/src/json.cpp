#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "utf8.h"

namespace harken {
namespace {

/// Recursive descent; the depth is bounded, so the stack is too.
class Parser {
  public:
    Parser(std::string_view text, const std::string& where, const JsonLimits& limits)
        : text_(text), where_(where), limits_(limits) {}

    Json parse() {
        if (text_.size() > limits_.max_bytes)
            throw Error(HARKEN_FILE_FORMAT_ERROR, where_ + ": has " + std::to_string(text_.size()) +
                                                      " bytes of JSON; wanted at most " +
                                                      std::to_string(limits_.max_bytes));
        if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
        Json value = parse_value(0);
        skip_space();
        if (at_ != text_.size()) fail("text after the end");
        return value;
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        throw Error(HARKEN_FILE_FORMAT_ERROR, where_ + ": is no JSON at byte " + std::to_string(at_) + ": " + what);
    }

    char peek() const {
        if (at_ >= text_.size()) fail("the text ends");
        return text_[at_];
    }

    void skip_space() {
        while (at_ < text_.size() &&
               (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
            ++at_;
    }

    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }

    Json parse_value(std::size_t depth) {
        if (depth > limits_.max_depth) fail("nested deeper than " + std::to_string(limits_.max_depth));
        if (++num_values_ > limits_.max_values) fail("more than " + std::to_string(limits_.max_values) + " values");
        skip_space();
        switch (peek()) {
            case '{': return Json(parse_object(depth));
            case '[': return Json(parse_array(depth));
            case '"': return Json(parse_string());
            case 't':
                if (take("true")) return Json(true);
                break;
            case 'f':
                if (take("false")) return Json(false);
                break;
            case 'n':
                if (take("null")) return Json();
                break;
            default: return parse_number();
        }
        fail("no value");
    }

    Json::Array parse_array(std::size_t depth) {
        Json::Array values;
        ++at_;
        skip_space();
        if (peek() == ']') return ++at_, values;
        for (;;) {
            values.push_back(parse_value(depth + 1));
            skip_space();
            const char next = peek();
            if (next != ',' && next != ']') fail("wanted , or ]");
            ++at_;
            if (next == ']') return values;
        }
    }

    Json::Object parse_object(std::size_t depth) {
        Json::Object members;
        ++at_;
        skip_space();
        if (peek() == '}') return ++at_, members;
        for (;;) {
            skip_space();
            if (peek() != '"') fail("wanted a name");
            std::string name = parse_string();
            skip_space();
            if (peek() != ':') fail("wanted :");
            ++at_;
            members.emplace_back(std::move(name), parse_value(depth + 1));
            skip_space();
            const char next = peek();
            if (next != ',' && next != '}') fail("wanted , or }");
            ++at_;
            if (next == '}') break;
        }
        refuse_twice(members);
        return members;
    }

    void refuse_twice(const Json::Object& members) const {
        std::vector<const std::string*> names;
        names.reserve(members.size());
        for (const auto& member : members) names.push_back(&member.first);
        std::sort(names.begin(), names.end(), [](const auto* a, const auto* b) { return *a < *b; });
        const auto twice =
            std::adjacent_find(names.begin(), names.end(), [](const auto* a, const auto* b) { return *a == *b; });
        if (twice != names.end()) fail("the name \"" + **twice + "\" stands twice in the object that ends here");
    }

    std::string parse_string() {
        std::string out;
        for (++at_;;) {
            const char c = peek();
            if (c == '"') return ++at_, out;
            if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
            if (c == '\\') {
                ++at_;
                parse_escape(out);
            } else if (static_cast<unsigned char>(c) < 0x80) {
                out.push_back(c);
                ++at_;
            } else {
                const utf8::Decoded decoded = utf8::decode(text_.substr(at_));
                if (!decoded.valid) fail("bytes that are no UTF-8");
                out.append(text_.substr(at_, decoded.num_bytes));
                at_ += decoded.num_bytes;
            }
        }
    }

    void parse_escape(std::string& out) {
        const char c = peek();
        ++at_;
        switch (c) {
            case '"':
            case '\\':
            case '/': out.push_back(c); return;
            case 'b': out.push_back('\b'); return;
            case 'f': out.push_back('\f'); return;
            case 'n': out.push_back('\n'); return;
            case 'r': out.push_back('\r'); return;
            case 't': out.push_back('\t'); return;
            case 'u': break;
            default: fail("no such escape");
        }
        char32_t code = parse_hex();
        if (code >= 0xdc00 && code <= 0xdfff) fail("half a surrogate pair");
        if (code >= 0xd800 && code <= 0xdbff) {
            if (!take("\\u")) fail("half a surrogate pair");
            const char32_t low = parse_hex();
            if (low < 0xdc00 || low > 0xdfff) fail("half a surrogate pair");
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        utf8::append(code, out);
    }

    char32_t parse_hex() {
        unsigned value = 0;
        const char* first = text_.data() + at_;
        if (text_.size() - at_ < 4) fail("the text ends");
        const auto [end, error] = std::from_chars(first, first + 4, value, 16);
        if (error != std::errc() || end != first + 4) fail("wanted four hexadecimal digits");
        at_ += 4;
        return value;
    }

    std::size_t skip_digits() {
        const std::size_t begin = at_;
        while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
        return at_ - begin;
    }

    Json parse_number() {
        const std::size_t begin = at_;
        bool whole = true;
        if (peek() == '-') ++at_;
        const bool zero = at_ < text_.size() && text_[at_] == '0';
        const std::size_t digits = skip_digits();
        if (digits == 0 || (zero && digits > 1)) fail("no value");
        if (at_ < text_.size() && text_[at_] == '.') {
            whole = false;
            ++at_;
            if (skip_digits() == 0) fail("a point without digits");
        }
        if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
            whole = false;
            ++at_;
            if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
            if (skip_digits() == 0) fail("an exponent without digits");
        }
        const char *first = text_.data() + begin, *last = text_.data() + at_;
        if (std::int64_t number = 0; whole && std::from_chars(first, last, number).ec == std::errc())
            return Json(number);
        double number = 0;
        // A number out of range stays 0 or infinity by its text's size: neither is taken for a size or an id.
        if (std::from_chars(first, last, number).ec != std::errc()) number = HUGE_VAL;
        return Json(number);
    }

    std::string_view text_;
    const std::string& where_;
    const JsonLimits& limits_;
    std::size_t at_ = 0, num_values_ = 0;
};

}  // namespace

void Json::refuse(const char* wanted) const {
    constexpr const char* kinds[] = {"null",     "a truth value", "a whole number", "a number",
                                     "a string", "an array",      "an object"};
    throw JsonKindError(HARKEN_FILE_FORMAT_ERROR,
                        std::string("JSON: wanted ") + wanted + ", got " + kinds[value_.index()]);
}

bool Json::as_bool() const {
    if (const bool* value = std::get_if<bool>(&value_)) return *value;
    refuse("true or false");
}

std::int64_t Json::as_int() const {
    if (const std::int64_t* value = std::get_if<std::int64_t>(&value_)) return *value;
    refuse("a whole number within 64 bits");
}

double Json::as_double() const {
    if (const double* value = std::get_if<double>(&value_)) return *value;
    if (const std::int64_t* value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
    refuse("a number");
}

const std::string& Json::as_string() const {
    if (const std::string* value = std::get_if<std::string>(&value_)) return *value;
    refuse("a string");
}

const Json::Array& Json::as_array() const {
    if (const Array* value = std::get_if<Array>(&value_)) return *value;
    refuse("an array");
}

const Json::Object& Json::as_object() const {
    if (const Object* value = std::get_if<Object>(&value_)) return *value;
    refuse("an object");
}

const Json* Json::find(std::string_view name) const {
    for (const auto& [key, value] : as_object())
        if (key == name) return value.is_null() ? nullptr : &value;
    return nullptr;
}

const Json& Json::at(std::string_view name) const {
    if (const Json* value = find(name)) return *value;
    throw JsonKindError(HARKEN_FILE_FORMAT_ERROR, "JSON: the object has no \"" + std::string(name) + "\"");
}

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
    return Parser(text, where, limits).parse();
}

}  // namespace harken

#include "unicode.h"

#include <algorithm>
#include <array>

#include "unicode_tables.h"
#include "utf8.h"

namespace harken::unicode {
namespace {

// Hangul syllables are composed by arithmetic (Unicode, section 3.12).
constexpr char32_t kSyllables = 0xac00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11a7;
constexpr char32_t kNumLeads = 19, kNumVowels = 21, kNumTails = 28, kNumSyllables = kNumLeads * kNumVowels * kNumTails;

std::uint8_t look_up(const ClassRange* ranges, std::size_t count, char32_t code) noexcept {
    const ClassRange* found = std::upper_bound(ranges, ranges + count, code,
                                               [](char32_t c, const ClassRange& range) { return c < range.first; });
    if (found == ranges) return 0;
    --found;
    return code <= found->last ? found->value : 0;
}

std::uint8_t combining_class(char32_t code) noexcept { return look_up(combining, num_combining, code); }

void decompose(char32_t code, std::u32string& out) {
    if (code >= kSyllables && code < kSyllables + kNumSyllables) {
        const char32_t index = code - kSyllables;
        out.push_back(kLeads + index / (kNumVowels * kNumTails));
        out.push_back(kVowels + index / kNumTails % kNumVowels);
        if (index % kNumTails != 0) out.push_back(kTails + index % kNumTails);
        return;
    }
    const Decomposition* end = decompositions + num_decompositions;
    const Decomposition* found =
        std::lower_bound(decompositions, end, code, [](const Decomposition& d, char32_t c) { return d.code < c; });
    if (found != end && found->code == code) {
        out.append(decomposed + found->begin, found->length);
    } else {
        out.push_back(code);
    }
}

/// The composite of two characters, 0 if there is none.
char32_t compose(char32_t first, char32_t second) noexcept {
    if (first >= kLeads && first < kLeads + kNumLeads && second >= kVowels && second < kVowels + kNumVowels)
        return kSyllables + ((first - kLeads) * kNumVowels + (second - kVowels)) * kNumTails;
    if (first >= kSyllables && first < kSyllables + kNumSyllables && (first - kSyllables) % kNumTails == 0 &&
        second > kTails && second < kTails + kNumTails)
        return first + (second - kTails);
    const Composite* end = composites + num_composites;
    const Composite* found =
        std::lower_bound(composites, end, std::pair(first, second),
                         [](const Composite& c, const auto& pair) { return std::pair(c.first, c.second) < pair; });
    return found != end && found->first == first && found->second == second ? found->code : 0;
}

}  // namespace

std::uint8_t classes(char32_t code) noexcept {
    static const std::array<std::uint8_t, 256> latin = [] {
        std::array<std::uint8_t, 256> table{};
        for (char32_t c = 0; c < table.size(); ++c) table[c] = look_up(class_ranges, num_class_ranges, c);
        return table;
    }();
    return code < latin.size() ? latin[code] : look_up(class_ranges, num_class_ranges, code);
}

std::string nfc(std::string_view text) {
    // Up to U+02FF every character is its own NFC and combines with none before it; U+0300 begins with the byte 0xCC.
    if (std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xcc; }))
        return std::string(text);
    std::u32string all;
    std::u32string::size_type unordered = 0;
    const auto order = [&] {
        const auto by_class = [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); };
        std::stable_sort(all.begin() + static_cast<std::ptrdiff_t>(unordered), all.end(), by_class);
    };
    std::u32string parts;
    while (!text.empty()) {
        const utf8::Decoded character = utf8::decode(text);
        text.remove_prefix(character.num_bytes);
        parts.clear();
        decompose(character.code, parts);
        for (const char32_t part : parts) {
            const bool starts = combining_class(part) == 0;
            if (starts) order();
            all.push_back(part);
            if (starts) unordered = all.size();
        }
    }
    order();

    std::u32string out;
    std::size_t starter = std::u32string::npos;
    int last_class = -1;
    for (const char32_t code : all) {
        const int own_class = combining_class(code);
        // Blocked from the starter by a character between them of a class that is no lower.
        if (starter != std::u32string::npos && (last_class < own_class || last_class == -1)) {
            if (const char32_t composite = compose(out[starter], code)) {
                out[starter] = composite;
                continue;
            }
        }
        if (own_class == 0) {
            starter = out.size();
            last_class = -1;
        } else {
            last_class = own_class;
        }
        out.push_back(code);
    }
    std::string encoded;
    for (const char32_t code : out) utf8::append(code, encoded);
    return encoded;
}

}  // namespace harken::unicode

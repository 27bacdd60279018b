#include "bpe.h"

#include <algorithm>
#include <array>
#include <functional>

#include "utf8.h"

namespace harken {
namespace {

/// GPT-2's printable character of each byte: itself where it is printable in Latin-1, else the next from U+0100 on.
std::array<char32_t, 256> printable_bytes() {
    std::array<char32_t, 256> table{};
    char32_t next = 256;
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        table[byte] = printable ? byte : next++;
    }
    return table;
}

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
    throw Error(HARKEN_MODEL_ERROR, where + ": " + what);
}

std::size_t hash(std::uint64_t pair) { return static_cast<std::size_t>((pair * 0x9e3779b97f4a7c15u) >> 20); }

}  // namespace

std::int32_t token_id_of(const Json& value, const std::string& where) {
    const std::int64_t id = value.as_int();
    if (id < 0 || id >= kMaxVocabSize)
        refuse(where, "a token has the id " + std::to_string(id) + "; wanted 0.." + std::to_string(kMaxVocabSize - 1));
    return static_cast<std::int32_t>(id);
}

Bpe::Bpe(const Json& about, const std::string& where) {
    const Json* type = about.find("type");
    if (type && type->as_string() != "BPE")
        refuse(where, "model " + type->as_string() + " is not read here; wanted BPE");
    for (const char* setting : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (const Json* value = about.find(setting); value && !value->as_string().empty())
            refuse(where, std::string("model BPE with ") + setting + " is not read here");
    if (const Json* dropout = about.find("dropout"); dropout && dropout->as_double() != 0)
        refuse(where, "model BPE with dropout is not read here");

    const Json::Object& vocabulary = about.at("vocab").as_object();
    vocabulary_.reserve(vocabulary.size());
    for (const auto& [token, id] : vocabulary) vocabulary_.emplace(token, token_id_of(id, where));

    const std::array<char32_t, 256> printable = printable_bytes();
    bool complete = true;
    for (unsigned byte = 0; byte < 256; ++byte) {
        std::string token;
        utf8::append(printable[byte], token);
        const auto found = vocabulary_.find(token);
        byte_ids_[byte] = found == vocabulary_.end() ? -1 : found->second;
        complete = complete && found != vocabulary_.end();
    }
    if (const Json* fallback = about.find("byte_fallback"); fallback && fallback->as_bool() && !complete)
        refuse(where, "model BPE with byte_fallback is not read here");
    if (const Json* unknown = about.find("unk_token")) {
        const auto found = vocabulary_.find(unknown->as_string());
        if (found != vocabulary_.end()) unknown_ = found->second;
    }
    if (const Json* fuse = about.find("fuse_unk")) fuse_unknown_ = fuse->as_bool();
    index_merges(about.at("merges"), where);

    if (const Json* ignore = about.find("ignore_merges"); ignore && ignore->as_bool()) {
        std::unordered_map<char32_t, char> bytes;
        for (unsigned byte = 0; byte < 256; ++byte) bytes.emplace(printable[byte], static_cast<char>(byte));
        for (const auto& [token, id] : vocabulary_) {
            std::string word;
            for (std::string_view rest = token; !rest.empty();) {
                const utf8::Decoded character = utf8::decode(rest);
                rest.remove_prefix(character.num_bytes);
                if (!bytes.contains(character.code)) break;
                word.push_back(bytes[character.code]);
                if (rest.empty()) whole_words_.emplace(word, id);
            }
        }
    }
}

void Bpe::index_merges(const Json& merges, const std::string& where) {
    const Json::Array& all = merges.as_array();
    std::size_t size = 16;
    while (size < 2 * all.size()) size *= 2;
    merges_.assign(size, Merge{0, -1, 0});
    const auto id_of = [&](const std::string& token) {
        const auto found = vocabulary_.find(token);
        if (found == vocabulary_.end()) refuse(where, "a merge speaks of \"" + token + "\", which is no token");
        return found->second;
    };
    std::int32_t rank = 0;
    for (const Json& merge : all) {
        std::string left, right;
        if (merge.is_string()) {
            const std::string& text = merge.as_string();
            const std::size_t space = text.find(' ');
            if (space == text.npos || text.find(' ', space + 1) != text.npos)
                refuse(where, "a merge is \"" + text + "\"; wanted two tokens");
            left = text.substr(0, space);
            right = text.substr(space + 1);
        } else {
            const Json::Array& pair = merge.as_array();
            if (pair.size() != 2) refuse(where, "a merge has " + std::to_string(pair.size()) + " tokens; wanted two");
            left = pair[0].as_string();
            right = pair[1].as_string();
        }
        const std::uint64_t pair =
            static_cast<std::uint64_t>(id_of(left)) << 32 | static_cast<std::uint32_t>(id_of(right));
        std::size_t at = hash(pair) & (size - 1);
        while (merges_[at].rank >= 0 && merges_[at].pair != pair) at = (at + 1) & (size - 1);
        // A pair that stands twice counts as the later one, as in a map that is filled in order.
        merges_[at] = {pair, rank++, id_of(left + right)};
    }
}

const Bpe::Merge* Bpe::find(std::int32_t left, std::int32_t right) const noexcept {
    const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
    std::size_t at = hash(pair) & (merges_.size() - 1);
    while (merges_[at].rank >= 0 && merges_[at].pair != pair) at = (at + 1) & (merges_.size() - 1);
    return merges_[at].rank >= 0 ? &merges_[at] : nullptr;
}

void Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
    if (!whole_words_.empty()) {
        const auto found = whole_words_.find(std::string(word));
        if (found != whole_words_.end()) {
            ids.push_back(found->second);
            return;
        }
    }
    std::vector<std::int32_t> symbols;
    symbols.reserve(word.size());
    for (const char c : word) {
        const std::int32_t id = byte_ids_[static_cast<unsigned char>(c)];
        if (id >= 0) {
            symbols.push_back(id);
        } else if (unknown_ >= 0 && !(fuse_unknown_ && !symbols.empty() && symbols.back() == unknown_)) {
            symbols.push_back(unknown_);
        }
    }
    merge(symbols);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void Bpe::merge(std::vector<std::int32_t>& symbols) const {
    if (symbols.size() < 2) return;
    struct Candidate {
        std::int32_t rank;
        std::uint32_t left, right;  // places
        std::uint64_t pair;         // what stood there when it was found
        std::int32_t id;
        bool operator>(const Candidate& other) const {
            return rank != other.rank ? rank > other.rank : left > other.left;
        }
    };
    const std::uint32_t n = static_cast<std::uint32_t>(symbols.size()), none = n;
    std::vector<std::uint32_t> before(n), after(n);
    std::vector<Candidate> heap;
    const auto consider = [&](std::uint32_t left, std::uint32_t right) {
        const Merge* merge = find(symbols[left], symbols[right]);
        if (merge == nullptr) return;
        heap.push_back({merge->rank, left, right, merge->pair, merge->id});
        std::push_heap(heap.begin(), heap.end(), std::greater<>());
    };
    for (std::uint32_t i = 0; i < n; ++i) {
        before[i] = i == 0 ? none : i - 1;
        after[i] = i + 1;
    }
    for (std::uint32_t i = 0; i + 1 < n; ++i) consider(i, i + 1);
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        const Candidate best = heap.back();
        heap.pop_back();
        // Merged away since: a place that is gone holds -1, a place that grew holds another id.
        if (symbols[best.left] < 0 || symbols[best.right] < 0 || after[best.left] != best.right) continue;
        if ((static_cast<std::uint64_t>(symbols[best.left]) << 32 | static_cast<std::uint32_t>(symbols[best.right])) !=
            best.pair)
            continue;
        symbols[best.left] = best.id;
        symbols[best.right] = -1;
        const std::uint32_t next = after[best.right];
        after[best.left] = next;
        if (next != none) {
            before[next] = best.left;
            consider(best.left, next);
        }
        if (before[best.left] != none) consider(before[best.left], best.left);
    }
    std::erase(symbols, -1);
}

}  // namespace harken

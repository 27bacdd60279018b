#include "tokenizer.h"

#include <algorithm>
#include <utility>

#include "bpe.h"
#include "mapped_file.h"
#include "split_words.h"
#include "unicode.h"
#include "utf8.h"

namespace harken {
namespace {

/// A token that is recognised in the text itself.
struct AddedToken {
    std::int32_t id;
    // Only between characters that are no letters, digits or underscores.
    bool single_word;
    // White space before or after belongs to it.
    bool strip_left, strip_right;
};

/// Added tokens found by their first byte, then byte by byte; the leftmost, then the longest counts.
class AddedTokens {
  public:
    void add(std::string_view content, const AddedToken& token) {
        if (content.empty()) return;
        std::size_t node = 0;
        for (const char c : content) {
            auto& children = nodes_[node].children;
            const auto found =
                std::find_if(children.begin(), children.end(), [&](const auto& child) { return child.first == c; });
            if (found != children.end()) {
                node = found->second;
            } else {
                children.emplace_back(c, nodes_.size());
                node = nodes_.size();
                nodes_.emplace_back();
            }
        }
        if (nodes_[node].token >= 0) return;
        nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
        tokens_.push_back(token);
    }

    /// Call between(text) for what lies between tokens and found(id, text) for them, in order.
    template <typename Between, typename Found>
    void part(std::string_view text, Between&& between, Found&& found) const {
        std::size_t done = 0;
        for (std::size_t at = 0; at < text.size() && !tokens_.empty();) {
            const auto [token, length] = longest_at(text.substr(at));
            if (token == nullptr) {
                ++at;
                continue;
            }
            std::size_t begin = at, end = at + length;
            at = end;
            if (token->single_word && (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end))))
                continue;
            if (token->strip_left) begin = std::max(done, without_space_at_end(text, begin));
            if (token->strip_right) end = past_space(text, end);
            if (begin > done) between(text.substr(done, begin - done));
            found(token->id, text.substr(begin, end - begin));
            done = end;
        }
        if (done < text.size()) between(text.substr(done));
    }

  private:
    std::pair<const AddedToken*, std::size_t> longest_at(std::string_view text) const {
        const AddedToken* best = nullptr;
        std::size_t node = 0, length = 0;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const auto& children = nodes_[node].children;
            const auto next = std::find_if(children.begin(), children.end(),
                                           [&](const auto& child) { return child.first == text[i]; });
            if (next == children.end()) break;
            node = next->second;
            if (nodes_[node].token < 0) continue;
            best = &tokens_[static_cast<std::size_t>(nodes_[node].token)];
            length = i + 1;
        }
        return {best, length};
    }

    static bool starts_with_word(std::string_view text) {
        return !text.empty() && (unicode::classes(utf8::decode(text).code) & unicode::kWord);
    }
    static std::size_t last_character(std::string_view text) {
        std::size_t at = text.size() - 1;
        while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
        return at;
    }
    static bool ends_with_word(std::string_view text) {
        return !text.empty() && starts_with_word(text.substr(last_character(text)));
    }
    static std::size_t without_space_at_end(std::string_view text, std::size_t end) {
        while (end > 0) {
            const std::size_t at = last_character(text.substr(0, end));
            if (!(unicode::classes(utf8::decode(text.substr(at)).code) & unicode::kSpace)) break;
            end = at;
        }
        return end;
    }
    static std::size_t past_space(std::string_view text, std::size_t at) {
        while (at < text.size()) {
            const utf8::Decoded character = utf8::decode(text.substr(at));
            if (!(unicode::classes(character.code) & unicode::kSpace)) break;
            at += character.num_bytes;
        }
        return at;
    }

    struct Node {
        std::vector<std::pair<char, std::size_t>> children;
        std::int32_t token = -1;
    };
    std::vector<Node> nodes_ = std::vector<Node>(1);
    std::vector<AddedToken> tokens_;
};

/// Bytes that are no UTF-8 become U+FFFD.
std::string repaired(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const utf8::Decoded character = utf8::decode(text);
        if (character.valid) {
            out.append(text.substr(0, character.num_bytes));
        } else {
            out.append("\xef\xbf\xbd");
        }
        text.remove_prefix(character.num_bytes);
    }
    return out;
}

std::size_t num_characters(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// True where a "normalizer" asks for NFC.
bool wants_nfc(const Json* about, const std::string& where) {
    if (about == nullptr) return false;
    const std::string& type = about->at("type").as_string();
    if (type == "NFC") return true;
    if (type != "Sequence")
        throw Error(HARKEN_MODEL_ERROR, where + ": normalizer " + type + " is not read here; wanted NFC");
    bool wanted = false;
    for (const Json& step : about->at("normalizers").as_array()) wanted = wants_nfc(&step, where) || wanted;
    return wanted;
}

}  // namespace

struct Tokenizer::Model {
    bool nfc;
    WordSplitter splitter;
    Bpe bpe;
    // Looked for in the text as it is, and after it was normalized.
    AddedTokens written, normalized;
    std::unordered_map<std::string, std::int32_t> added;
    std::size_t vocab_size = 0;
    std::vector<std::uint32_t> num_bytes;  // that a token of the vocabulary stands for, by id

    Model(const Json& about, const std::string& where)
        : nfc(wants_nfc(about.find("normalizer"), where)),
          splitter(about.find("pre_tokenizer"), where),
          bpe(about.at("model"), where) {
        if (!splitter.byte_level())
            throw Error(HARKEN_MODEL_ERROR,
                        where + ": its pre-tokenizer has no ByteLevel; only byte-level models are read here");
        for (const auto& [token, id] : bpe.vocabulary())
            vocab_size = std::max(vocab_size, static_cast<std::size_t>(id) + 1);
        num_bytes.resize(vocab_size);
        for (const auto& [token, id] : bpe.vocabulary())
            num_bytes[static_cast<std::size_t>(id)] = static_cast<std::uint32_t>(num_characters(token));
        const Json* tokens = about.find("added_tokens");
        if (tokens == nullptr) return;
        for (const Json& token : tokens->as_array()) {
            const std::string& content = token.at("content").as_string();
            const std::int32_t id = token_id_of(token.at("id"), where);
            const auto flag = [&](const char* name) {
                const Json* value = token.find(name);
                return value && value->as_bool();
            };
            const AddedToken entry{id, flag("single_word"), flag("lstrip"), flag("rstrip")};
            if (flag("normalized")) {
                normalized.add(nfc ? unicode::nfc(content) : content, entry);
            } else {
                written.add(content, entry);
            }
            added.emplace(content, entry.id);
            vocab_size = std::max(vocab_size, static_cast<std::size_t>(id) + 1);
        }
    }

    /// Call word(text) for what byte pairs are merged within and found(id, text) for added tokens, in order.
    template <typename Word, typename Found>
    void walk(std::string_view text, Word&& word, Found&& found) const {
        const auto plain = [&](std::string_view part) {
            const Characters characters(part);
            std::size_t begin = 0;
            for (const std::size_t end : splitter.split(characters)) {
                word(characters.bytes(begin, end));
                begin = end;
            }
        };
        written.part(
            repaired(text),
            [&](std::string_view part) { normalized.part(nfc ? unicode::nfc(part) : std::string(part), plain, found); },
            found);
    }
};

Tokenizer::Tokenizer(std::unique_ptr<const Model> model) : model_(std::move(model)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& where) {
    return Tokenizer(naming(where, [&] { return std::make_unique<const Model>(parse_json(text, where), where); }));
}

Tokenizer Tokenizer::from_file(const std::string& path) {
    const MappedFile file(path);
    return from_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
    std::vector<std::int32_t> ids;
    model_->walk(
        text, [&](std::string_view word) { model_->bpe.encode(word, ids); },
        [&](std::int32_t id, std::string_view) { ids.push_back(id); });
    return ids;
}

std::vector<Token> Tokenizer::encode_with_offsets(std::string_view text) const {
    std::vector<Token> tokens;
    std::vector<std::int32_t> ids;
    std::size_t at = 0;
    const auto word = [&](std::string_view bytes) {
        ids.clear();
        model_->bpe.encode(bytes, ids);
        std::size_t first = at;
        at += bytes.size();
        for (const std::int32_t id : ids) {
            const std::size_t last = std::min(at, first + model_->num_bytes[static_cast<std::size_t>(id)]);
            tokens.push_back({id, first, last});
            first = last;
        }
    };
    model_->walk(text, word, [&](std::int32_t id, std::string_view bytes) {
        tokens.push_back({id, at, at + bytes.size()});
        at += bytes.size();
    });
    return tokens;
}

std::string Tokenizer::normalized(std::string_view text) const {
    std::string out;
    model_->walk(
        text, [&](std::string_view word) { out += word; }, [&](std::int32_t, std::string_view token) { out += token; });
    return out;
}

std::optional<std::int32_t> Tokenizer::token_id(std::string_view token) const {
    const std::string name(token);
    if (const auto found = model_->added.find(name); found != model_->added.end()) return found->second;
    if (const auto found = model_->bpe.vocabulary().find(name); found != model_->bpe.vocabulary().end())
        return found->second;
    return std::nullopt;
}

std::size_t Tokenizer::vocab_size() const noexcept { return model_->vocab_size; }

}  // namespace harken

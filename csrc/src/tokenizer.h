/// \file
/// Byte-level BPE as Hugging Face's tokenizer.json describes it (GPT-2, SmolLM2, Qwen2 and their kin).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace harken {

/// A token and the bytes of the normalized text that it stands for.
struct Token {
    std::int32_t id;
    std::size_t first, last;  ///< one past the last
};

/// Thread safety: any number of calls at once.
class Tokenizer {
  public:
    /// \param text   content of tokenizer.json
    /// \param where  what errors call it
    /// \throws Error  HARKEN_MODEL_ERROR: a normalizer, pre-tokenizer or model that is not read here, by its name;
    ///                HARKEN_FILE_FORMAT_ERROR: damaged
    static Tokenizer from_json(std::string_view text, const std::string& where = "tokenizer.json");
    static Tokenizer from_file(const std::string& path);

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    /// Ids of a text; added tokens written in it are recognised, none is put around it. Bytes that are no UTF-8 count as
    /// U+FFFD, as Python's errors="replace" decodes them.
    [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const;

    /// The same with places in normalized(text).
    [[nodiscard]] std::vector<Token> encode_with_offsets(std::string_view text) const;
    /// What is tokenised: bytes that are no UTF-8 replaced, and NFC where the file asks for it; again gives the same.
    [[nodiscard]] std::string normalized(std::string_view text) const;

    [[nodiscard]] std::optional<std::int32_t> token_id(std::string_view token) const;
    /// One past the largest id.
    [[nodiscard]] std::size_t vocab_size() const noexcept;

  private:
    struct Model;
    explicit Tokenizer(std::unique_ptr<const Model> model);
    std::unique_ptr<const Model> model_;
};

}  // namespace harken

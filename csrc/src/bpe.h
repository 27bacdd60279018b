/// \file
/// Byte pair encoding of one word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json.h"

namespace harken {

/// Ids from here on are no vocabulary's: what is as long as the vocabulary must stay small.
inline constexpr std::int64_t kMaxVocabSize = std::int64_t{1} << 22;

/// A token's id.
/// \throws Error  HARKEN_MODEL_ERROR: not within 0..kMaxVocabSize - 1
[[nodiscard]] std::int32_t token_id_of(const Json& value, const std::string& where);

/// "model" of tokenizer.json, of type BPE over the 256 bytes.
///
/// Thread safety: any number of calls at once.
class Bpe {
  public:
    /// \throws Error  HARKEN_MODEL_ERROR: another type of model, or a setting that is not read here
    Bpe(const Json& about, const std::string& where);

    /// Append the ids of a word given as bytes: neighbours are merged, the pair that was learnt first before others, the left
    /// one before equal ones.
    void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

    /// Ids by token as the file writes it, bytes in their printable form.
    [[nodiscard]] const std::unordered_map<std::string, std::int32_t>& vocabulary() const noexcept {
        return vocabulary_;
    }

  private:
    struct Merge {
        std::uint64_t pair;  // left id << 32 | right id
        std::int32_t rank, id;
    };
    void index_merges(const Json& merges, const std::string& where);
    [[nodiscard]] const Merge* find(std::int32_t left, std::int32_t right) const noexcept;
    void merge(std::vector<std::int32_t>& symbols) const;

    std::unordered_map<std::string, std::int32_t> vocabulary_;
    std::unordered_map<std::string, std::int32_t> whole_words_;  // by bytes; where the file says ignore_merges
    std::vector<Merge> merges_;                                  // open addressing; rank -1: free
    std::int32_t byte_ids_[256];                                 // -1: the vocabulary has no such byte
    std::int32_t unknown_ = -1;
    bool fuse_unknown_ = false;
};

}  // namespace harken

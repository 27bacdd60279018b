/// \file
/// An index folder as engine/index/store.py writes it: index.json, vectors and scales as .npy, ids as an Arrow IPC file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"
#include "mapped_file.h"
#include "topk.h"

namespace harken {

/// Maps the vectors and reads none of them; ids are in memory as they lie in the file.
///
/// Thread safety: any number of readers.
class IndexFile {
  public:
    /// \throws Error  HARKEN_IO_ERROR: no such folder; HARKEN_FILE_FORMAT_ERROR: no index, another version, a file that is
    ///                missing, not of its size or shape
    explicit IndexFile(const std::string& folder);

    [[nodiscard]] const Corpus& corpus() const noexcept { return corpus_; }
    [[nodiscard]] std::size_t size() const noexcept { return corpus_.num_rows; }
    [[nodiscard]] std::size_t dim() const noexcept { return corpus_.width; }
    /// The id of a row; row < size().
    [[nodiscard]] std::string_view id(std::size_t row) const noexcept;
    /// 12 hex digits of what the vectors were made with, as engine/fingerprint.py gives them; "" if not known.
    [[nodiscard]] const std::string& fingerprint() const noexcept { return fingerprint_; }

  private:
    void read(const Json& about, const std::string& folder, const std::string& where);

    std::vector<MappedFile> files_;
    Corpus corpus_;
    std::vector<std::string_view> ids_;
    std::string fingerprint_;
};

}  // namespace harken

/// \file
/// A file's bytes, mapped and read when they are touched.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace harken {

/// Read-only; moved, not copied. The file must not be cut while it is mapped.
class MappedFile {
  public:
    /// \throws Error  HARKEN_IO_ERROR: missing, not a regular file, not readable
    explicit MappedFile(const std::string& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }

  private:
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace harken

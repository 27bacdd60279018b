/// \file
/// Tensors of a .safetensors file, in place.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mapped_file.h"
#include "tensor_view.h"

namespace harken {

/// Checked whole when it is opened: every tensor lies inside the file, none overlaps another, sizes fit shapes.
///
/// Thread safety: any number of readers.
class SafetensorsFile {
  public:
    /// Map a file.
    /// \throws Error  HARKEN_IO_ERROR, or HARKEN_FILE_FORMAT_ERROR that names the file and the tensor
    explicit SafetensorsFile(const std::string& path);
    /// Read bytes that the caller keeps alive; `name` is what errors call them.
    SafetensorsFile(std::span<const std::byte> bytes, std::string name);

    /// \throws Error  HARKEN_FILE_FORMAT_ERROR: no tensor of that name
    [[nodiscard]] const TensorView& find(std::string_view name) const;
    [[nodiscard]] bool has(std::string_view name) const { return tensors_.contains(name); }
    [[nodiscard]] std::vector<std::string> names() const;
    /// The strings of "__metadata__".
    [[nodiscard]] const std::map<std::string, std::string, std::less<>>& metadata() const noexcept { return metadata_; }

  private:
    void read(std::span<const std::byte> bytes);

    std::optional<MappedFile> file_;
    std::string name_;
    std::map<std::string, TensorView, std::less<>> tensors_;
    std::map<std::string, std::string, std::less<>> metadata_;
};

}  // namespace harken

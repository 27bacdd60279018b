#include "safetensors.h"

#include <algorithm>
#include <utility>

#include "error.h"
#include "json.h"

namespace harken {
namespace {

DType dtype_of(const std::string& written, const std::string& where) {
    constexpr std::pair<std::string_view, DType> known[] = {
        {"F32", DType::float32}, {"F16", DType::float16}, {"BF16", DType::bfloat16}, {"F64", DType::float64},
        {"I8", DType::int8},     {"U8", DType::uint8},    {"BOOL", DType::boolean},  {"I16", DType::int16},
        {"U16", DType::uint16},  {"I32", DType::int32},   {"U32", DType::uint32},    {"I64", DType::int64},
        {"U64", DType::uint64}};
    for (const auto& [text, dtype] : known)
        if (written == text) return dtype;
    throw Error(HARKEN_FILE_FORMAT_ERROR, where + ": has dtype " + written + ", which is not read here");
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path), name_(path) {
    naming(name_, [this] { read(file_->bytes()); });
}

SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes, std::string name) : name_(std::move(name)) {
    naming(name_, [&] { read(bytes); });
}

void SafetensorsFile::read(std::span<const std::byte> bytes) {
    const auto refuse = [this](const std::string& why) { throw Error(HARKEN_FILE_FORMAT_ERROR, name_ + ": " + why); };
    if (bytes.size() < 8) refuse("has " + std::to_string(bytes.size()) + " bytes; no .safetensors file is so short");
    std::uint64_t length = 0;
    for (int i = 0; i < 8; ++i) length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    if (length > bytes.size() - 8)
        refuse("its header should have " + std::to_string(length) + " bytes; the file is shorter");
    const Json header = parse_json({reinterpret_cast<const char*>(bytes.data()) + 8, length}, name_);
    const std::span<const std::byte> data = bytes.subspan(8 + length);

    std::vector<std::pair<std::size_t, std::size_t>> taken;
    for (const auto& [name, about] : header.as_object()) {
        if (name == "__metadata__") {
            for (const auto& [key, value] : about.as_object()) metadata_.emplace(key, value.as_string());
            continue;
        }
        const std::string where = name_ + ": tensor " + name;
        TensorView view;
        view.dtype = dtype_of(about.at("dtype").as_string(), where);
        for (const Json& size : about.at("shape").as_array()) view.shape.push_back(size.as_int());
        const Json::Array& offsets = about.at("data_offsets").as_array();
        if (offsets.size() != 2) refuse("tensor " + name + ": wanted two data_offsets");
        const std::int64_t begin = offsets[0].as_int(), end = offsets[1].as_int();
        if (begin < 0 || end < begin || static_cast<std::uint64_t>(end) > data.size())
            refuse("tensor " + name + ": lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                   " of " + std::to_string(data.size()));
        if (!shape_bytes(view.shape, view.dtype, view.num_bytes) ||
            view.num_bytes != static_cast<std::size_t>(end - begin))
            refuse("tensor " + name + ": has " + std::to_string(end - begin) +
                   " bytes, which its shape and dtype do not give");
        view.data = data.data() + begin;
        if (view.num_bytes != 0) taken.emplace_back(begin, end);
        tensors_.emplace(name, std::move(view));
    }
    std::sort(taken.begin(), taken.end());
    for (std::size_t i = 1; i < taken.size(); ++i)
        if (taken[i].first < taken[i - 1].second)
            refuse("two tensors overlap at byte " + std::to_string(taken[i].first));
}

const TensorView& SafetensorsFile::find(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw Error(HARKEN_FILE_FORMAT_ERROR, name_ + ": has no tensor " + std::string(name));
    return found->second;
}

std::vector<std::string> SafetensorsFile::names() const {
    std::vector<std::string> names;
    for (const auto& entry : tensors_) names.push_back(entry.first);
    return names;
}

}  // namespace harken

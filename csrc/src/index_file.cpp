#include "index_file.h"

#include <filesystem>

#include "arrow_file.h"
#include "error.h"
#include "json.h"
#include "npy.h"
#include "sha256.h"
#include "utf8.h"

namespace harken {
namespace {

constexpr std::string_view kAbout = "index.json", kKind = "harken index";
constexpr std::int64_t kVersion = 1;

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
    throw Error(HARKEN_FILE_FORMAT_ERROR, where + ": " + why);
}

/// Text as Python's json.dumps writes it.
std::string json_text(std::string_view text) {
    std::string out = "\"";
    const auto escape = [&](unsigned unit) {
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out.push_back("0123456789abcdef"[unit >> shift & 15]);
    };
    while (!text.empty()) {
        const utf8::Decoded character = utf8::decode(text);
        text.remove_prefix(character.num_bytes);
        const char32_t c = character.code;
        constexpr std::string_view special = "\"\\\n\r\t\f\b", letters = "\"\\nrtfb";
        if (const std::size_t at = c < 0x80 ? special.find(static_cast<char>(c)) : special.npos; at != special.npos) {
            out.push_back('\\');
            out.push_back(letters[at]);
        } else if (c >= 0x20 && c < 0x7f) {
            out.push_back(static_cast<char>(c));
        } else if (c < 0x10000) {
            escape(c);
        } else {
            escape(0xd800 + ((c - 0x10000) >> 10));
            escape(0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    return out + "\"";
}

/// engine/fingerprint.py: 12 digits of the SHA-256 of what is compared, as JSON with sorted keys.
std::string fingerprint_id(const Json& fingerprint) {
    std::string text = "{";
    for (const char* name : {"adapter_sha256", "dtype", "front_end", "recipe", "recipe_sha256", "weights_sha256"}) {
        if (text.size() > 1) text += ", ";
        const Json* value = fingerprint.find(name);
        text += json_text(name) + ": " + (value ? json_text(value->as_string()) : "null");
    }
    return sha256(text + "}").substr(0, 12);
}

std::string read_text(const std::string& path) {
    const MappedFile file(path);
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

/// A file of the folder, of the size that index.json gives.
MappedFile open_part(const std::filesystem::path& folder, const Json& about) {
    const std::string& name = about.at("name").as_string();
    if (name.empty() || name == ".." || name == "." || name.find('/') != name.npos || name.find('\0') != name.npos)
        refuse((folder / kAbout).string(), "names a file \"" + name + "\"; wanted one in the folder");
    const std::string path = (folder / name).string();
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) refuse(path, "is missing from the index");
    MappedFile file(path);
    const std::int64_t wanted = about.at("bytes").as_int();
    if (wanted < 0 || file.bytes().size() != static_cast<std::uint64_t>(wanted))
        refuse(path, "has " + std::to_string(file.bytes().size()) + " bytes; wanted " + std::to_string(wanted));
    return file;
}

const void* array_of(const MappedFile& file, const std::string& where, DType dtype,
                     const std::vector<std::int64_t>& shape) {
    const TensorView view = read_npy(file.bytes(), where);
    if (view.dtype != dtype || view.shape != shape) {
        std::string text = std::string("holds ") + dtype_name(view.dtype) + " [";
        for (std::size_t i = 0; i < view.shape.size(); ++i) text += (i ? ", " : "") + std::to_string(view.shape[i]);
        refuse(where, text + "], which is not what " + std::string(kAbout) + " says");
    }
    if (reinterpret_cast<std::uintptr_t>(view.data) % dtype_bytes(dtype) != 0)
        refuse(where, "its numbers lie across their own size");
    return view.data;
}

}  // namespace

IndexFile::IndexFile(const std::string& folder) {
    const std::string where = (std::filesystem::path(folder) / kAbout).string();
    std::error_code error;
    if (!std::filesystem::is_directory(folder, error))
        throw Error(HARKEN_IO_ERROR, folder + ": there is no such folder");
    if (!std::filesystem::is_regular_file(where, error))
        refuse(folder, "is no index: there is no " + std::string(kAbout) + " in it");
    naming(where, [&] { read(parse_json(read_text(where), where), folder, where); });
}

void IndexFile::read(const Json& about, const std::string& folder, const std::string& where) {
    const Json* kind = about.find("kind");
    const Json* version = about.find("version");
    if (!kind || !version || !kind->is_string() || !version->is_int() || kind->as_string() != kKind ||
        version->as_int() != kVersion)
        refuse(where, "is no harken index of version " + std::to_string(kVersion));
    const std::int64_t count = about.at("count").as_int(), dim = about.at("dim").as_int();
    if (count < 0 || dim < 1 || dim > 65536)
        refuse(where, "says " + std::to_string(count) + " rows of " + std::to_string(dim));
    const std::string& dtype = about.at("dtype").as_string();
    if (dtype == "float16") {
        corpus_.dtype = DType::float16;
    } else if (dtype == "int8") {
        corpus_.dtype = DType::int8;
    } else if (dtype != "float32") {
        refuse(where, "is of dtype " + dtype + "; wanted float32, float16 or int8");
    }
    if (const Json* fingerprint = about.find("fingerprint")) fingerprint_ = fingerprint_id(*fingerprint);
    corpus_.num_rows = static_cast<std::size_t>(count);
    corpus_.width = static_cast<std::size_t>(dim);

    const auto open = [&](const char* part) -> const MappedFile& {
        return files_.emplace_back(open_part(folder, about.at("files").at(part)));
    };
    // What points into a mapping stays valid when its MappedFile is moved.
    ids_ = read_arrow_strings(open("rows").bytes(), "id", folder + ": rows");
    if (ids_.size() != corpus_.num_rows)
        refuse(where, "says " + std::to_string(count) + " rows, and there are " + std::to_string(ids_.size()) + " ids");
    if (count == 0) return;
    corpus_.rows = array_of(open("vectors"), folder + ": vectors", corpus_.dtype, {count, dim});
    if (corpus_.dtype == DType::int8)
        corpus_.scales =
            static_cast<const float*>(array_of(open("scales"), folder + ": scales", DType::float32, {count}));
}

std::string_view IndexFile::id(std::size_t row) const noexcept { return ids_[row]; }

}  // namespace harken

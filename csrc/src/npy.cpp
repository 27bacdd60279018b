#include "npy.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "error.h"

namespace harken {
namespace {

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
    throw Error(HARKEN_FILE_FORMAT_ERROR, where + ": " + why);
}

/// The header is a Python dictionary of three fixed keys; only what numpy writes is read.
struct Header {
    std::string_view text;
    const std::string& where;

    std::string_view value_of(std::string_view key) const {
        const std::size_t at = text.find(key);
        if (at == text.npos) refuse(where, "its .npy header has no " + std::string(key));
        std::string_view rest = text.substr(at + key.size());
        rest.remove_prefix(std::min(rest.find_first_not_of(": "), rest.size()));
        return rest;
    }
};

DType dtype_of(std::string_view written, const std::string& where) {
    constexpr std::pair<std::string_view, DType> known[] = {
        {"<f4", DType::float32}, {"<f2", DType::float16}, {"<f8", DType::float64}, {"|i1", DType::int8},
        {"|u1", DType::uint8},   {"|b1", DType::boolean}, {"<i2", DType::int16},   {"<u2", DType::uint16},
        {"<i4", DType::int32},   {"<u4", DType::uint32},  {"<i8", DType::int64},   {"<u8", DType::uint64}};
    for (const auto& [text, dtype] : known)
        if (written.size() > 4 && (written[0] == '\'' || written[0] == '"') && written.substr(1, 3) == text &&
            written[4] == written[0])
            return dtype;
    refuse(where, "holds a dtype that is not read here: " + std::string(written.substr(0, 8)));
}

std::vector<std::int64_t> shape_of(std::string_view written, const std::string& where) {
    const std::size_t close = written.find(')');
    if (!written.starts_with('(') || close == written.npos) refuse(where, "its .npy header has no shape");
    std::vector<std::int64_t> shape;
    const char *at = written.data() + 1, *end = written.data() + close;
    while (at != end) {
        std::int64_t size = 0;
        const auto [next, error] = std::from_chars(at, end, size);
        if (error != std::errc() || size < 0 || shape.size() == 32)
            refuse(where, "its .npy header has a shape that cannot be");
        shape.push_back(size);
        for (at = next; at != end && (*at == ',' || *at == ' ');) ++at;
    }
    return shape;
}

}  // namespace

TensorView read_npy(std::span<const std::byte> bytes, const std::string& where) {
    const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(bytes[i]); };
    const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!file.starts_with("\x93NUMPY") || file.size() < 12) refuse(where, "is no .npy file");
    const std::size_t version = byte(6);
    if (version < 1 || version > 3)
        refuse(where, "is a .npy file of version " + std::to_string(version) + "; wanted 1 to 3");
    const std::size_t begin = version == 1 ? 10 : 12;
    std::size_t length = byte(8) | byte(9) << 8;
    if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
    if (length > file.size() - begin) refuse(where, "is cut within its .npy header");
    const Header header{file.substr(begin, length), where};
    if (!header.value_of("'fortran_order'").starts_with("False")) refuse(where, "is in Fortran order; wanted C order");

    TensorView view;
    view.dtype = dtype_of(header.value_of("'descr'"), where);
    view.shape = shape_of(header.value_of("'shape'"), where);
    const std::size_t present = file.size() - begin - length;
    if (!shape_bytes(view.shape, view.dtype, view.num_bytes))
        refuse(where, "its .npy header has a shape that cannot be");
    if (view.num_bytes != present)
        refuse(where,
               "holds " + std::to_string(present) + " bytes of numbers; wanted " + std::to_string(view.num_bytes));
    view.data = bytes.data() + begin + length;
    return view;
}

}  // namespace harken

// Readers of .npy and .safetensors: what is right is read in place; truncated, overlapping and hostile sizes are refused.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "error.h"
#include "mapped_file.h"
#include "npy.h"
#include "safetensors.h"

using namespace harken;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string npy(const std::string& descr, const std::string& order, const std::string& shape, std::size_t num_bytes) {
    std::string header = "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
    header.resize(118, ' ');
    return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header +
           std::string(num_bytes, '\1');
}

std::string npy_error(const std::string& file) {
    try {
        (void)read_npy(bytes_of(file), "x.npy");
    } catch (const Error& error) {
        CHECK(error.code() == HARKEN_FILE_FORMAT_ERROR);
        return error.what();
    }
    return "";
}

std::string tensors(const std::string& header, std::size_t num_bytes) {
    std::string file(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(file.data(), &length, 8);
    return file + header + std::string(num_bytes, '\2');
}

std::string tensors_error(const std::string& file) {
    try {
        const SafetensorsFile opened(bytes_of(file), "x.safetensors");
    } catch (const Error& error) {
        CHECK(error.code() == HARKEN_FILE_FORMAT_ERROR);
        CHECK(std::string(error.what()).starts_with("x.safetensors"));
        return error.what();
    }
    return "";
}

void read_npy_files() {
    const std::string file = npy("<f4", "False", "(2, 3)", 24);
    const TensorView view = read_npy(bytes_of(file), "x.npy");
    CHECK(view.dtype == DType::float32 && view.shape == (std::vector<std::int64_t>{2, 3}) && view.num_elements() == 6);
    CHECK(reinterpret_cast<const char*>(view.data) == file.data() + 128);
    CHECK(read_npy(bytes_of(npy("|i1", "False", "(5,)", 5)), "").shape == std::vector<std::int64_t>{5});
    CHECK(read_npy(bytes_of(npy("<f4", "False", "()", 4)), "").shape.empty());
    CHECK(read_npy(bytes_of(npy("<f4", "False", "(0, 7)", 0)), "").num_bytes == 0);

    for (std::size_t cut = 0; cut < file.size(); ++cut) CHECK(!npy_error(file.substr(0, cut)).empty());
    CHECK(npy_error(npy("<f4", "True", "(2, 3)", 24)).find("Fortran") != std::string::npos);
    CHECK(npy_error(npy(">f4", "False", "(2, 3)", 24)).find("dtype") != std::string::npos);
    CHECK(!npy_error(npy("<f4", "False", "(-1, 3)", 24)).empty());
    CHECK(!npy_error(npy("<f4", "False", "(4611686018427387904, 4)", 16)).empty());
    CHECK(!npy_error(npy("<f4", "False", "(99999999999999999999,)", 16)).empty());
    CHECK(!npy_error(npy("<f4", "False", "(2 3", 24)).empty());
    CHECK(npy_error(file + "x").find("holds 25 bytes of numbers; wanted 24") != std::string::npos);
}

void read_tensors() {
    const std::string file = tensors(
        R"({"__metadata__":{"k":"v"},"b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"none":{"dtype":"I8","shape":[0,3],"data_offsets":[12,12]}})",
        12);
    const SafetensorsFile opened(bytes_of(file), "x");
    CHECK(opened.names() == (std::vector<std::string>{"a", "b", "none"}) && opened.metadata().at("k") == "v");
    CHECK(opened.find("b").dtype == DType::bfloat16 && opened.find("b").num_bytes == 4 &&
          opened.find("none").num_elements() == 0);
    CHECK_THROWS(Error, opened.find("c"));
    CHECK(!opened.has("c"));
    for (std::size_t cut = 0; cut < file.size(); ++cut) CHECK(!tensors_error(file.substr(0, cut)).empty());

    const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
        return tensors_error(tensors(
            R"({"t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", 16));
    };
    CHECK(one("F32", "[4]", "[0,16]").empty());
    CHECK(one("F32", "[4]", "[0,20]").find("lies at bytes 0 to 20 of 16") != std::string::npos);
    CHECK(!one("F32", "[4]", "[16,0]").empty());
    CHECK(!one("F32", "[4]", "[-16,0]").empty());
    CHECK(!one("F32", "[4]", "[0,9223372036854775808]").empty());
    CHECK(!one("F32", "[4]", "[0]").empty());
    CHECK(!one("F32", "[5]", "[0,16]").empty());
    CHECK(!one("F32", "[-4]", "[0,16]").empty());
    CHECK(!one("F32", "[4611686018427387904,4]", "[0,16]").empty());
    CHECK(!one("F32", "[9223372036854775807,9223372036854775807]", "[0,16]").empty());
    CHECK(one("F4", "[4]", "[0,16]").find("dtype F4") != std::string::npos);
    CHECK(!tensors_error(tensors("[]", 0)).empty());
    CHECK(!tensors_error(tensors(R"({"t":1})", 0)).empty());
    const std::string overlap =
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
    CHECK(tensors_error(tensors(overlap, 16)).find("overlap at byte 4") != std::string::npos);
    // A header of 2^63 bytes.
    std::string huge(16, '\0');
    huge[7] = '\x80';
    CHECK(tensors_error(huge).find("the file is shorter") != std::string::npos);
}

void map_files() {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() / "harken_test_files";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "some") << "abc";
    std::ofstream(folder / "empty");
    MappedFile file((folder / "some").string());
    CHECK(file.bytes().size() == 3 && file.bytes()[2] == std::byte{'c'});
    const std::byte* place = file.bytes().data();
    const MappedFile moved(std::move(file));
    CHECK(moved.bytes().data() == place && file.bytes().empty());
    CHECK(MappedFile((folder / "empty").string()).bytes().empty());
    CHECK_THROWS(Error, MappedFile((folder / "missing").string()));
    CHECK_THROWS(Error, MappedFile(folder.string()));
    CHECK_THROWS(Error, SafetensorsFile((folder / "empty").string()));
    std::filesystem::remove_all(folder);
}

}  // namespace

int main() {
    read_npy_files();
    read_tensors();
    map_files();
}

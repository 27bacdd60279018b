/// \file
/// What a fuzz target gives. Built with clang it runs under libFuzzer, else under driver.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

/// Read one hostile input: harken::Error is right, anything else is a find.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// Good inputs to begin with.
std::vector<std::string> fuzz_seeds();

/// Little-endian bytes of a number.
template <typename T>
std::string bytes_of(T value) {
    std::string bytes(sizeof value, '\0');
    for (std::size_t i = 0; i < sizeof value; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    return bytes;
}

inline void write_whole(const std::filesystem::path& path, std::string_view content) {
    std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

/// A folder of this process, in memory where there is such a place.
inline std::filesystem::path own_folder(const char* name) {
    const std::filesystem::path memory = "/dev/shm";
    const std::filesystem::path base =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    const std::filesystem::path folder =
        base / ("harken-fuzz-" + std::string(name) + "-" + std::to_string(std::random_device{}()));
    std::filesystem::create_directories(folder);
    return folder;
}

/// The good inputs, a file each.
inline void write_seeds(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    std::size_t number = 0;
    for (const std::string& input : fuzz_seeds()) write_whole(folder / ("seed-" + std::to_string(number++)), input);
}

// WAV and its kin, FLAC.
#include "error.h"
#include "fuzz.h"
#include "sound_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        (void)harken::read_sound(std::as_bytes(std::span(data, size)), "fuzz");
    } catch (const harken::Error&) {
    }
    return 0;
}

namespace {

std::string wav(std::uint16_t tag, std::uint16_t channels, std::uint16_t bits, std::size_t num_bytes,
                const std::string& before = "") {
    const std::uint16_t frame = static_cast<std::uint16_t>(channels * bits / 8);
    std::string samples;
    for (std::size_t i = 0; i < num_bytes; ++i) samples.push_back(static_cast<char>(i * 37));
    const std::string format = bytes_of(tag) + bytes_of(channels) + bytes_of<std::uint32_t>(16000) +
                               bytes_of<std::uint32_t>(16000u * frame) + bytes_of(frame) + bytes_of(bits);
    const std::string chunks = "WAVE" + before + "fmt " + bytes_of<std::uint32_t>(16) + format + "data" +
                               bytes_of(static_cast<std::uint32_t>(num_bytes)) + samples;
    return "RIFF" + bytes_of(static_cast<std::uint32_t>(chunks.size())) + chunks;
}

std::uint8_t crc8(const std::string& bytes) {
    unsigned crc = 0;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int i = 0; i < 8; ++i) crc = crc & 0x80 ? (crc << 1) ^ 0x07 : crc << 1;
    }
    return static_cast<std::uint8_t>(crc);
}

std::uint16_t crc16(const std::string& bytes) {
    unsigned crc = 0;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned>(static_cast<unsigned char>(c)) << 8;
        for (int i = 0; i < 8; ++i) crc = crc & 0x8000 ? (crc << 1) ^ 0x8005 : crc << 1;
    }
    return static_cast<std::uint16_t>(crc);
}

/// One frame of 16 mono samples of 16 bits, constant or verbatim.
std::string flac(bool constant) {
    const std::string stream_info = std::string("\x00\x10\x00\x10\x00\x00\x00\x00\x00\x00", 10) +
                                    std::string("\x03\xe8\x00\xf0\x00\x00\x00\x10", 8) + std::string(16, '\0');
    std::string frame("\xff\xf8\x65\x08\x00\x0f", 6);
    frame.push_back(static_cast<char>(crc8(frame)));
    frame += constant ? std::string("\x00\x12\x34", 3) : std::string("\x02", 1) + std::string(32, '\x21');
    const std::uint16_t crc = crc16(frame);
    frame.push_back(static_cast<char>(crc >> 8));
    frame.push_back(static_cast<char>(crc & 255));
    return "fLaC" + std::string("\x80\x00\x00\x22", 4) + stream_info + frame;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
    return {wav(1, 1, 16, 64), wav(1, 2, 24, 60),
            wav(3, 1, 32, 64), wav(1, 1, 8, 20),
            wav(6, 1, 8, 20),  wav(7, 2, 8, 20),
            wav(2, 1, 4, 300), wav(17, 1, 4, 300),
            wav(3, 1, 64, 64), wav(1, 1, 16, 8, "LIST" + bytes_of<std::uint32_t>(4) + "abcd"),
            flac(true),        flac(false)};
}

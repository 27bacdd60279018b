#include "sound_file.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "error.h"
#include "mapped_file.h"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wextra"
#endif
#define MA_API static
#define MA_NO_DEVICE_IO
#define MA_NO_THREADING
#define MA_NO_RUNTIME_LINKING
#define MA_NO_ENCODING
#define MA_NO_GENERATION
#define MA_NO_RESOURCE_MANAGER
#define MA_NO_NODE_GRAPH
#define MA_NO_ENGINE
#define MA_NO_MP3
#define MA_NO_STDIO
#define MINIAUDIO_IMPLEMENTATION
#include "../third_party/miniaudio/miniaudio.h"
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace harken {
namespace {

constexpr std::uint64_t kMaxSamples = std::uint64_t{1} << 30;
constexpr std::size_t kBlockSamples = std::size_t{1} << 16;
constexpr int kMinRateHz = 1000, kMaxRateHz = 768000;
// Writers to a pipe cannot go back to fill in a size: they leave a number near the largest, or zero.
constexpr std::uint32_t kStreamedBytes = 0x7ffff000;

using Bytes = std::span<const std::byte>;

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
    throw Error(HARKEN_AUDIO_ERROR, name + ": " + why);
}

struct CloseWav {
    void operator()(ma_dr_wav* wav) const {
        ma_dr_wav_uninit(wav);
        delete wav;
    }
};
struct CloseFlac {
    void operator()(ma_dr_flac* flac) const { ma_dr_flac_close(flac); }
};

/// What both decoders tell of a file.
struct Format {
    int rate_hz;
    std::size_t num_channels;
    std::uint64_t num_frames;
    bool frames_known;
};

void check(const Format& format, const std::string& name) {
    if (format.rate_hz < kMinRateHz || format.rate_hz > kMaxRateHz)
        refuse(name, "sample rate is " + std::to_string(format.rate_hz) + " Hz; wanted " + std::to_string(kMinRateHz) +
                         " to " + std::to_string(kMaxRateHz) + " Hz");
    if (format.num_channels < 1 || format.num_channels > 64)
        refuse(name, "has " + std::to_string(format.num_channels) + " channels; wanted 1 to 64");
    if (format.num_frames > kMaxSamples)
        refuse(name, "declares " + std::to_string(format.num_frames) + " samples; more than " +
                         std::to_string(kMaxSamples) + " cannot be read at once");
}

/// Read blocks until there are no more: read(count, out) gives interleaved frames and returns how many.
/// Memory grows with what is there, not with what is declared.
template <typename Sample, typename Read>
Sound collect(const Format& format, const std::string& name, float scale, Read&& read) {
    check(format, name);
    Sound sound;
    sound.rate_hz = format.rate_hz;
    const std::size_t channels = format.num_channels;
    std::vector<Sample> block(kBlockSamples / channels * channels);
    const float each = scale / static_cast<float>(channels);
    for (;;) {
        const std::size_t count = static_cast<std::size_t>(read(kBlockSamples / channels, block.data()));
        if (count == 0) break;
        if (sound.samples.size() + count > kMaxSamples)
            refuse(name, "holds more than " + std::to_string(kMaxSamples) + " samples");
        for (std::size_t i = 0; i < count; ++i) {
            float sum = 0;
            for (std::size_t c = 0; c < channels; ++c) sum += static_cast<float>(block[i * channels + c]);
            sound.samples.push_back(sum * each);
        }
    }
    if (format.frames_known && sound.samples.size() < format.num_frames)
        refuse(name, "truncated or damaged: " + std::to_string(sound.samples.size()) + " of " +
                         std::to_string(format.num_frames) + " declared samples are there; wanted the whole file");
    if (sound.samples.empty()) refuse(name, "holds no samples; wanted at least one");
    for (std::size_t i = 0; i < sound.samples.size(); ++i)
        if (!std::isfinite(sound.samples[i]))
            refuse(name, "sample " + std::to_string(i) + " is not finite; wanted real numbers only");
    return sound;
}

/// Whether the samples that a RIFF header, or the bytes that a W64 header declares are there; the decoder reads a cut file as
/// a shorter sound.
void refuse_truncated(Bytes bytes, const std::string& name) {
    const auto number = [&](std::size_t at, std::size_t length) {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < length; ++i) value |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
        return value;
    };
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const auto refuse_cut = [&](std::uint64_t present, std::uint64_t declared) {
        if (declared > present)
            refuse(name, "truncated: " + std::to_string(present) + " of " + std::to_string(declared) +
                             " declared bytes are there; wanted the whole file");
    };
    if (text.starts_with("riff")) return refuse_cut(bytes.size(), bytes.size() < 24 ? 24 : number(16, 8));
    if (!text.starts_with("RIFF") && !text.starts_with("RF64")) return;
    std::uint64_t size_rf64 = 0;
    for (std::uint64_t at = 12; at + 8 <= bytes.size();) {
        const std::string_view kind = text.substr(at, 4);
        std::uint64_t size = number(at + 4, 4);
        const std::uint64_t body = at + 8;
        if (kind == "ds64" && body + 16 <= bytes.size()) size_rf64 = number(body + 8, 8);
        if (kind == "data") {
            const bool large = size == 0xffffffff && size_rf64 != 0;
            if (!large && (size == 0 || size >= kStreamedBytes)) return;
            if (large) size = size_rf64;
            refuse_cut(bytes.size() - body, size);
            return;
        }
        at = body + size + size % 2;
    }
}

Sound read_wav(Bytes bytes, const std::string& name) {
    refuse_truncated(bytes, name);
    auto opened = std::make_unique<ma_dr_wav>();
    if (!ma_dr_wav_init_memory(opened.get(), bytes.data(), bytes.size(), nullptr))
        refuse(name, "is a WAV file that cannot be read");
    const std::unique_ptr<ma_dr_wav, CloseWav> wav(opened.release());
    const std::size_t frame_bytes = wav->fmt.blockAlign;
    const bool linear =
        wav->translatedFormatTag == MA_DR_WAVE_FORMAT_PCM || wav->translatedFormatTag == MA_DR_WAVE_FORMAT_IEEE_FLOAT;
    if (linear && (wav->channels == 0 || frame_bytes % wav->channels != 0 ||
                   frame_bytes / wav->channels * 8 < wav->bitsPerSample))
        refuse(name, "declares " + std::to_string(wav->channels) + " channels of " +
                         std::to_string(wav->bitsPerSample) + " bits in frames of " + std::to_string(frame_bytes) +
                         " bytes");
    // A RIFF stream's size may be a guess; the others' sizes hold.
    const bool frames_known = wav->container == ma_dr_wav_container_w64 || wav->container == ma_dr_wav_container_aiff;
    const Format format{static_cast<int>(std::min<std::uint32_t>(wav->sampleRate, 1 << 30)), wav->channels,
                        wav->totalPCMFrameCount, frames_known};
    if (wav->translatedFormatTag == MA_DR_WAVE_FORMAT_PCM)
        return collect<ma_int32>(format, name, 0x1p-31f, [&](std::size_t n, ma_int32* out) {
            return ma_dr_wav_read_pcm_frames_s32(wav.get(), n, out);
        });
    return collect<float>(format, name, 1.0f,
                          [&](std::size_t n, float* out) { return ma_dr_wav_read_pcm_frames_f32(wav.get(), n, out); });
}

Sound read_flac(Bytes bytes, const std::string& name) {
    const std::unique_ptr<ma_dr_flac, CloseFlac> flac(ma_dr_flac_open_memory(bytes.data(), bytes.size(), nullptr));
    if (!flac) refuse(name, "is a FLAC file that cannot be read");
    const Format format{static_cast<int>(flac->sampleRate), flac->channels, flac->totalPCMFrameCount,
                        flac->totalPCMFrameCount != 0};
    return collect<ma_int32>(format, name, 0x1p-31f, [&](std::size_t n, ma_int32* out) {
        return ma_dr_flac_read_pcm_frames_s32(flac.get(), n, out);
    });
}

}  // namespace

Sound read_sound(std::span<const std::byte> bytes, const std::string& name) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.empty()) refuse(name, "is empty (0 bytes); wanted a sound file");
    if (text.starts_with("fLaC") || text.starts_with("OggS")) return read_flac(bytes, name);
    for (const char* magic : {"RIFF", "RF64", "RIFX", "riff", "FORM"})
        if (text.starts_with(magic)) return read_wav(bytes, name);
    refuse(name, "is neither WAV nor FLAC; wanted one of these");
}

Sound read_sound(const std::string& path) {
    const MappedFile file(path);
    return read_sound(file.bytes(), path);
}

}  // namespace harken

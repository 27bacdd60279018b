#include <cstring>

#include "c_common.h"
#include "sound_file.h"

struct harken_sound {
    harken::Sound sound;
};

using harken::guarded;
using harken::require;

extern "C" {

harken_status harken_sound_read(const char* path, harken_sound** sound) {
    return guarded([&] {
        require(sound, "harken_sound_read", "sound");
        *sound = nullptr;
        require(path, "harken_sound_read", "path");
        *sound = new harken_sound{harken::read_sound(path)};
    });
}

harken_status harken_sound_decode(const void* bytes, size_t num_bytes, const char* name, harken_sound** sound) {
    return guarded([&] {
        require(sound, "harken_sound_decode", "sound");
        *sound = nullptr;
        if (num_bytes > 0) require(bytes, "harken_sound_decode", "bytes");
        const std::span data(static_cast<const std::byte*>(bytes), num_bytes);
        *sound = new harken_sound{harken::read_sound(data, name == nullptr ? "sound" : name)};
    });
}

void harken_sound_free(harken_sound* sound) { delete sound; }

harken_clip harken_sound_clip(const harken_sound* sound) {
    return {sound->sound.samples.data(), sound->sound.samples.size(), static_cast<uint32_t>(sound->sound.rate_hz)};
}

}  // extern "C"

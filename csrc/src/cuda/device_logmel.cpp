#include "cuda/device_logmel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "error.h"

namespace harken::cuda {
namespace {

// As in kernels/logmel_triton.py: places within a clip are 32 bits, with room for what lies past its end.
constexpr std::int64_t kMaxClipSamples = (std::int64_t{1} << 31) - (1 << 16);
constexpr std::size_t kColumns = 7;

const CubinKernel* rows_kernel(const MelSpec& spec) noexcept {
    // The code for mirrored clips mirrors short ones more than once.
    return find_cubin_kernel("logmel rows", {{"N_FFT", spec.n_fft},
                                             {"HOP", spec.hop_length},
                                             {"NUM_MELS", spec.num_mels},
                                             {"PERIODIC", spec.right_edge == RightEdge::reflect},
                                             {"HAS_PEAK", !std::isinf(spec.max_range)}});
}

const CubinKernel* raise_kernel(const MelSpec& spec) noexcept {
    return find_cubin_kernel("logmel raise", {{"NUM_MELS", spec.num_mels}});
}

float tf32(double exact) {
    return std::bit_cast<float>((std::bit_cast<std::uint32_t>(static_cast<float>(exact)) + 0x1000u) & ~0x1fffu);
}

/// [parts, size] to [parts, 2, size] on the device: the nearest TF32 number, and the nearest to what is left.
DeviceBuffer in_two(const std::vector<double>& exact, std::size_t size) {
    std::vector<float> both(2 * exact.size());
    for (std::size_t i = 0; i < exact.size(); ++i) {
        const std::size_t at = i / size * 2 * size + i % size;
        both[at] = tf32(exact[i]);
        both[at + size] = tf32(exact[i] - static_cast<double>(both[at]));
    }
    DeviceBuffer buffer(both.size() * sizeof(float));
    buffer.copy_from(both.data(), both.size() * sizeof(float));
    return buffer;
}

/// [4, depth, width]: the windowed cosines and sines of even places of a frame, then of odd ones.
std::vector<double> basis(const MelSpec& spec, std::size_t depth, std::size_t width) {
    const std::vector<double> window = hann_window(spec);
    const std::size_t n = static_cast<std::size_t>(spec.n_fft), quarter = n / 4;
    std::vector<double> out(4 * depth * width, 0.0);
    for (std::size_t parity = 0; parity < 2; ++parity)
        for (std::size_t j = 0; j < quarter; ++j) {
            const std::size_t k = 2 * j + 2 - parity;
            // The middle of the frame is its own mirror image, and counted twice.
            const double weight = (k == 2 * quarter ? 0.5 : 1.0) * window[k];
            for (std::size_t f = 0; f <= quarter; ++f) {
                const double angle = 2 * std::numbers::pi / spec.n_fft * static_cast<double>(k * f % n);
                out[(2 * parity * depth + j) * width + f] = weight * std::cos(angle);
                out[((2 * parity + 1) * depth + j) * width + f] = weight * std::sin(angle);
            }
        }
    return out;
}

/// [2, width, columns]: the filters of bins 0 .. n_fft/4, and of those from n_fft/2 down to the one after.
std::vector<double> filters(const MelSpec& spec, std::size_t width, std::size_t columns) {
    const std::vector<double> mel = mel_filters(spec);
    const std::size_t mels = static_cast<std::size_t>(spec.num_mels), quarter = static_cast<std::size_t>(spec.n_fft) / 4;
    std::vector<double> out(2 * width * columns, 0.0);
    for (std::size_t f = 0; f <= quarter; ++f) {
        std::copy_n(mel.data() + f * mels, mels, out.data() + f * columns);
        // f = n_fft/4 is its own mirror image too: it is in the first half already.
        if (f < quarter) std::copy_n(mel.data() + (2 * quarter - f) * mels, mels, out.data() + (width + f) * columns);
    }
    return out;
}

}  // namespace

bool DeviceLogMel::available(const MelSpec& spec, int device) noexcept {
    return has_code(rows_kernel(spec), device) && (std::isinf(spec.max_range) || has_code(raise_kernel(spec), device));
}

DeviceLogMel::DeviceLogMel(const MelSpec& spec, int device) : host_(spec), device_(device) {
    const CubinKernel* const rows = rows_kernel(spec);
    const CubinKernel* const raise = std::isinf(spec.max_range) ? nullptr : raise_kernel(spec);
    // Of the two, that there is no such device is the better answer.
    const int capability = compute_capability(device);
    if (!available(spec, device))
        throw Error(HARKEN_BACKEND_ERROR, "logmel " + spec.name + ": this library has no CUDA kernels of the front end for sm_" +
                                              std::to_string(capability));
    const OnDevice here(device);
    rows_ = LoadedKernel(*rows, device);
    if (raise != nullptr) raise_ = LoadedKernel(*raise, device);
    const auto size = [&](const char* name) { return static_cast<std::size_t>(rows_.constant(name)); };
    basis_ = in_two(basis(spec, size("K"), size("F")), size("K") * size("F"));
    filters_ = in_two(filters(spec, size("F"), size("M")), size("F") * size("M"));
    // Copies to the device return before they are there, and other streams do not wait for them; this one does.
    float arrived;
    filters_.copy_to(&arrived, sizeof arrived);
}

std::vector<std::size_t> DeviceLogMel::compute(const DeviceBuffer& samples, std::span<const std::int64_t> starts,
                                               DeviceBuffer& out, std::size_t extra_frames, std::size_t max_samples,
                                               void* stream) {
    const MelSpec& spec = host_.spec();
    const std::size_t num_clips = starts.empty() ? 0 : starts.size() - 1;
    const auto block = static_cast<std::size_t>(rows_.constant("BLOCK_T"));
    std::vector<std::int64_t> table, tile_clip;
    std::vector<std::size_t> first_rows{0};
    for (std::size_t clip = 0; clip < num_clips; ++clip) {
        const std::int64_t length = starts[clip + 1] - starts[clip];
        if (starts[clip] < 0 || length < 0)
            throw Error(HARKEN_INVALID_ARGUMENT, "logmel " + spec.name + ": clips start at " + std::to_string(starts[clip]) +
                                                     " and end at " + std::to_string(starts[clip + 1]));
        const ClipFrames frames = host_.frames(static_cast<std::size_t>(length), extra_frames, max_samples);
        if (static_cast<std::int64_t>(frames.num_samples) > kMaxClipSamples)
            throw Error(HARKEN_INVALID_ARGUMENT, "logmel " + spec.name + ": clip " + std::to_string(clip) + " has " +
                                                     std::to_string(frames.num_samples) + " samples, wanted " +
                                                     std::to_string(kMaxClipSamples) + " or fewer");
        const auto number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
        // Where nothing is mirrored the cap may be far off: 32 bits hold it all the same.
        const std::int64_t fold = number(std::min<std::size_t>(frames.fold, std::numeric_limits<std::int32_t>::max()));
        table.insert(table.end(), {starts[clip], number(frames.num_samples), fold, number(frames.num_rows),
                                   number(frames.num_work), number(first_rows.back()), number(tile_clip.size())});
        tile_clip.insert(tile_clip.end(), (frames.num_work + block - 1) / block, number(clip));
        first_rows.push_back(first_rows.back() + frames.num_rows);
    }
    if (tile_clip.empty()) return first_rows;
    const std::size_t num_tiles = tile_clip.size();
    table.insert(table.end(), tile_clip.begin(), tile_clip.end());
    const std::vector<std::int32_t> lowest(num_clips, std::numeric_limits<std::int32_t>::min());

    const std::lock_guard lock(turn_);
    const OnDevice here(device_);
    clips_.reserve(table.size() * sizeof(std::int64_t));
    copy_to_device(device_, clips_, table.data(), table.size() * sizeof(std::int64_t), stream);
    peaks_.reserve(lowest.size() * sizeof(std::int32_t));
    copy_to_device(device_, peaks_, lowest.data(), lowest.size() * sizeof(std::int32_t), stream);
    out.reserve(first_rows.back() * static_cast<std::size_t>(spec.num_mels) * sizeof(float));
    const std::int64_t* const tiles = clips_.as<std::int64_t>() + num_clips * kColumns;
    const auto shift = static_cast<float>(spec.shift), divisor = static_cast<float>(spec.divisor);
    rows_.launch(num_tiles,
                 {samples, clips_, tiles, basis_, filters_, out, peaks_, static_cast<float>(spec.floor),
                  static_cast<float>(spec.log_gain), shift, divisor},
                 stream);
    if (!std::isinf(spec.max_range))
        raise_.launch(num_tiles, {out, clips_, tiles, peaks_, static_cast<float>(spec.max_range), shift, divisor}, stream);
    return first_rows;
}

}  // namespace harken::cuda

#include "tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention.h"

namespace harken {
namespace {

std::size_t num_positions(std::size_t num_frames) { return (num_frames + 1) / 2; }

/// [num_rows, 3 * width]: the three rows under a convolution's window.
Buffer<float> gather_taps(const float* x, std::size_t width, const std::vector<std::size_t>& taps, ThreadPool& pool) {
    Buffer<float> y(taps.size() * width);
    pool.parallel_for(taps.size(), 3 * kTaskRows, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            if (taps[i] == kNoRow)
                std::memset(y.data() + i * width, 0, width * sizeof(float));
            else
                std::memcpy(y.data() + i * width, x + taps[i] * width, width * sizeof(float));
        }
    });
    return y;
}

/// Rows left of, at and right of a centre; none outside the segment's rows.
void add_taps(std::size_t centre, std::size_t length, std::size_t first, std::vector<std::size_t>& taps) {
    taps.push_back(centre > 0 && centre - 1 < length ? first + centre - 1 : kNoRow);
    taps.push_back(centre < length ? first + centre : kNoRow);
    taps.push_back(centre + 1 < length ? first + centre + 1 : kNoRow);
}

}  // namespace

Tower::Tower(const Bundle& bundle) : config_(bundle.tower), logmel_(mel_spec(bundle.tower.front_end)) {
    const std::size_t width = config_.width, mels = static_cast<std::size_t>(logmel_.spec().num_mels);
    conv1_ = bundle.matrix("tower.conv1", width, 3 * mels);
    conv2_ = bundle.matrix("tower.conv2", width, 3 * width);
    positions_ = bundle.numbers("tower.positions", config_.max_positions, width);
    for (std::size_t i = 0; i < config_.num_layers; ++i) {
        const std::string name = "tower.layers." + std::to_string(i) + ".";
        layers_.push_back({LayerNorm::load(bundle, name + "norm1", width, config_.norm_eps),
                           LayerNorm::load(bundle, name + "norm2", width, config_.norm_eps),
                           bundle.matrix(name + "qkv", 3 * width, width), bundle.matrix(name + "out", width, width),
                           bundle.matrix(name + "fc1", config_.mlp_width, width),
                           bundle.matrix(name + "fc2", width, config_.mlp_width)});
    }
    norm_ = LayerNorm::load(bundle, "tower.norm", width, config_.norm_eps);
    if (config_.projects) proj_ = bundle.matrix("tower.proj", bundle.decoder.width, width);
}

std::size_t Tower::num_tokens(std::size_t num_samples) const {
    return num_positions(logmel_.num_frames(num_samples, config_.max_samples)) / 2;
}

Tower::Plan Tower::plan(const std::vector<std::span<const float>>& clips) const {
    Plan plan;
    plan.first_frame.push_back(0);
    std::size_t first_conv1 = 0, first_row = 0;
    for (const auto& clip : clips) {
        const std::size_t frames = logmel_.num_frames(clip.size(), config_.max_samples);
        const std::size_t first = plan.first_frame.back(), extra = config_.window == 0 ? 2 : 0;
        const std::size_t rows = logmel_.num_rows(clip.size(), extra, config_.max_samples), clip_row = first_row;
        plan.first_frame.push_back(first + rows);
        const std::size_t window = config_.window == 0 ? frames : config_.window;
        for (std::size_t start = 0; start < frames; start += window) {
            const std::size_t valid = std::min(window, frames - start);
            const std::size_t length = config_.window == 0 ? rows : valid, kept = num_positions(valid);
            for (std::size_t i = 0; i < length; ++i) add_taps(i, length, first + start, plan.conv1);
            for (std::size_t i = 0; i < kept; ++i) {
                add_taps(2 * i, length, first_conv1, plan.conv2);
                plan.position.push_back(i);
            }
            plan.lengths.push_back(kept);
            first_conv1 += length;
            first_row += kept;
        }
        for (std::size_t i = 0; i < num_tokens(clip.size()); ++i) plan.pairs.push_back(clip_row + 2 * i);
    }
    return plan;
}

Buffer<float> Tower::frames(const std::vector<std::span<const float>>& clips, const Plan& plan, ThreadPool& pool) const {
    const std::size_t mels = static_cast<std::size_t>(logmel_.spec().num_mels);
    Buffer<float> features(plan.first_frame.back() * mels);
    pool.parallel_for(clips.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
            logmel_.compute(clips[i], features.data() + plan.first_frame[i] * mels, config_.window == 0 ? 2 : 0,
                            config_.max_samples);
    });
    return features;
}

Buffer<float> Tower::encode(const std::vector<std::span<const float>>& clips, ThreadPool& pool) const {
    const Plan plan = this->plan(clips);
    const std::size_t width = config_.width, mels = static_cast<std::size_t>(logmel_.spec().num_mels);
    Buffer<float> after_conv1(plan.conv1.size() / 3 * width);
    {
        const Buffer<float> features = frames(clips, plan, pool);
        const Buffer<float> taps = gather_taps(features.data(), mels, plan.conv1, pool);
        linear(conv1_, taps.data(), plan.conv1.size() / 3, after_conv1.data(), false, pool);
        gelu(after_conv1.data(), plan.conv1.size() / 3, width, pool);
    }
    const Segments segments(plan.lengths);
    const std::size_t num_rows = segments.num_rows();
    Buffer<float> x(num_rows * width);
    {
        const Buffer<float> taps = gather_taps(after_conv1.data(), width, plan.conv2, pool);
        linear(conv2_, taps.data(), num_rows, x.data(), false, pool);
    }
    gelu(x.data(), num_rows, width, pool);
    for (std::size_t i = 0; i < num_rows; ++i)
        for (std::size_t j = 0; j < width; ++j) x[i * width + j] += positions_[plan.position[i] * width + j];
    run_layers(x, segments, pool);

    Buffer<float> tokens(plan.pairs.size() * width);
    for (std::size_t i = 0; i < plan.pairs.size(); ++i) {
        const float* pair = x.data() + plan.pairs[i] * width;
        for (std::size_t j = 0; j < width; ++j) tokens[i * width + j] = 0.5f * (pair[j] + pair[width + j]);
    }
    norm_.run(tokens.data(), plan.pairs.size(), tokens.data(), pool);
    if (!config_.projects) return tokens;
    Buffer<float> projected(plan.pairs.size() * proj_.num_out);
    linear(proj_, tokens.data(), plan.pairs.size(), projected.data(), false, pool);
    return projected;
}

void Tower::run_layers(Buffer<float>& x, const Segments& segments, ThreadPool& pool) const {
    const std::size_t width = config_.width, n = segments.num_rows(), head_width = width / config_.num_heads;
    const AttentionShape shape{config_.num_heads, config_.num_heads, head_width, false,
                               1.0f / std::sqrt(static_cast<float>(head_width))};
    Buffer<float> y(n * width), qkv(n * 3 * width), hidden(n * config_.mlp_width);
    for (const Layer& layer : layers_) {
        layer.norm1.run(x.data(), n, y.data(), pool);
        linear(layer.qkv, y.data(), n, qkv.data(), false, pool);
        attention(shape, qkv.data(), qkv.data() + width, qkv.data() + 2 * width, 3 * width, segments, false, y.data(), pool);
        linear(layer.out, y.data(), n, x.data(), true, pool);
        layer.norm2.run(x.data(), n, y.data(), pool);
        linear(layer.fc1, y.data(), n, hidden.data(), false, pool);
        gelu(hidden.data(), n, config_.mlp_width, pool);
        linear(layer.fc2, hidden.data(), n, x.data(), true, pool);
    }
}

}  // namespace harken

#include "cuda/device_tower.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cuda/device_attention.h"
#include "cuda/norms.h"
#include "cuda/pointwise.h"

namespace harken::cuda {
namespace {

/// Rows as a device counts them; what stands for zeros is negative.
std::vector<std::int32_t> indices(const std::vector<std::size_t>& rows) {
    std::vector<std::int32_t> out;
    out.reserve(rows.size());
    for (const std::size_t row : rows) out.push_back(row == kNoRow ? -1 : static_cast<std::int32_t>(row));
    return out;
}

}  // namespace

DeviceTower::DeviceTower(const Tower& tower, const PackedMatrix& projection, DeviceBuffer& staging, Stream& stream)
    : config_(tower.config()),
      conv1_(tower.conv1(), staging, stream),
      conv2_(tower.conv2(), staging, stream),
      projection_(projection, staging, stream),
      positions_(numbers_on_device(tower.positions(), config_.max_positions * config_.width, stream)),
      norm_(copy(tower.norm(), stream)) {
    if (config_.width / config_.num_heads > kMaxHeadWidth)
        throw Error(HARKEN_MODEL_ERROR, "the tower's heads are " + std::to_string(config_.width / config_.num_heads) +
                                            " wide; on a CUDA device they may be " + std::to_string(kMaxHeadWidth));
    for (const Tower::Layer& layer : tower.layers())
        layers_.push_back({copy(layer.norm1, stream), copy(layer.norm2, stream), {layer.qkv, staging, stream},
                           {layer.out, staging, stream}, {layer.fc1, staging, stream}, {layer.fc2, staging, stream}});
}

DeviceTower::Norm DeviceTower::copy(const LayerNorm& norm, Stream& stream) {
    return {numbers_on_device(norm.weight, norm.width, stream), numbers_on_device(norm.bias, norm.width, stream)};
}

void DeviceTower::norm(const Norm& norm, const float* x, std::size_t num_rows, DType dtype, void* y, Stream& stream) const {
    layer_norm(x, norm.weight.as<float>(), norm.bias.as<float>(), num_rows, config_.width, config_.norm_eps, dtype, y, stream);
}

const float* DeviceTower::encode(const Tower& tower, const std::vector<std::span<const float>>& clips, ThreadPool& pool,
                                 Products& products, Stream& stream) {
    const Tower::Plan plan = tower.plan(clips);
    const std::size_t width = config_.width, mels = conv1_.num_in / 3, num_frames = plan.conv1.size() / 3;
    const Segments segments(plan.lengths);
    const std::size_t num_rows = segments.num_rows(), num_tokens = plan.pairs.size();
    {
        const Buffer<float> features = tower.frames(clips, plan, pool);
        stream.copy_to_device(room<float>(features_, features.size()), features.data(), features.size() * sizeof(float));
    }
    room<float>(taps_, std::max(num_frames * 3 * mels, num_rows * 3 * width));
    gather_rows(features_.as<float>(), copied(indices_, indices(plan.conv1), stream), plan.conv1.size(), mels, conv1_.dtype,
                taps_.as<void>(), stream);
    float* after_conv1 = room<float>(after_conv1_, num_frames * width);
    products.run(conv1_, taps_.as<void>(), num_frames, after_conv1);
    gelu(after_conv1, num_frames * width, DType::float32, after_conv1, stream);
    gather_rows(after_conv1, copied(indices_, indices(plan.conv2), stream), plan.conv2.size(), width, conv2_.dtype,
                taps_.as<void>(), stream);
    float* x = room<float>(x_, num_rows * width);
    products.run(conv2_, taps_.as<void>(), num_rows, x);
    gelu(x, num_rows * width, DType::float32, x, stream);
    add_rows(positions_.as<float>(), copied(indices_, indices(plan.position), stream), num_rows, width, x, stream);
    run_layers(x, segments, products, stream);

    float* tokens = room<float>(tokens_, num_tokens * width);
    mean_pairs(x, copied(indices_, indices(plan.pairs), stream), num_tokens, width, tokens, stream);
    norm(norm_, tokens, num_tokens, projection_.dtype, operand_.as<void>(), stream);
    float* projected = room<float>(projected_, num_tokens * projection_.num_out);
    products.run(projection_, operand_.as<void>(), num_tokens, projected);
    return projected;
}

void DeviceTower::run_layers(float* x, const Segments& segments, Products& products, Stream& stream) {
    const std::size_t width = config_.width, n = segments.num_rows(), head_width = width / config_.num_heads;
    const AttentionShape shape{config_.num_heads, config_.num_heads, head_width, false,
                               1.0f / std::sqrt(static_cast<float>(head_width))};
    const auto tasks = attention_tasks(segments, false);
    const AttentionTask* on_device = copied(tasks_, tasks, stream);
    float *qkv = room<float>(qkv_, n * 3 * width), *hidden = room<float>(hidden_, n * config_.mlp_width);
    void* operand = room<float>(operand_, n * std::max(width, config_.mlp_width));
    for (const Layer& layer : layers_) {
        norm(layer.norm1, x, n, layer.qkv.dtype, operand, stream);
        products.run(layer.qkv, operand, n, qkv);
        attention(shape, qkv, qkv + width, qkv + 2 * width, 3 * width, on_device, tasks.size(), layer.out.dtype, operand, stream);
        products.run(layer.out, operand, n, x, true);
        norm(layer.norm2, x, n, layer.fc1.dtype, operand, stream);
        products.run(layer.fc1, operand, n, hidden);
        gelu(hidden, n * config_.mlp_width, layer.fc2.dtype, operand, stream);
        products.run(layer.fc2, operand, n, x, true);
    }
}

}  // namespace harken::cuda

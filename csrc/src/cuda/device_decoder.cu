#include "cuda/device_decoder.h"

#include <cmath>
#include <string>

#include "cuda/device_attention.h"
#include "cuda/norms.h"
#include "cuda/pointwise.h"

namespace harken::cuda {

DeviceDecoder::DeviceDecoder(const Decoder& decoder, DeviceBuffer& staging, Stream& stream)
    : config_(decoder.config()), embeddings_(decoder.embeddings(), stream),
      norm_(numbers_on_device(decoder.norm().weight, config_.width, stream)) {
    if (config_.head_width > kMaxHeadWidth)
        throw Error(HARKEN_MODEL_ERROR, "the decoder's heads are " + std::to_string(config_.head_width) +
                                            " wide; on a CUDA device they may be " + std::to_string(kMaxHeadWidth));
    for (const Decoder::Layer& layer : decoder.layers())
        layers_.push_back({numbers_on_device(layer.norm1.weight, config_.width, stream),
                           numbers_on_device(layer.norm2.weight, config_.width, stream),
                           {layer.qkv, staging, stream}, {layer.o, staging, stream}, {layer.gate_up, staging, stream},
                           {layer.down, staging, stream}});
}

void DeviceDecoder::make_rotary(std::size_t num_positions, Stream& stream) {
    if (num_positions <= num_positions_) return;
    const std::size_t half = config_.head_width / 2;
    std::vector<float> cosines(num_positions * half), sines(num_positions * half);
    rotary_tables(config_, num_positions, cosines.data(), sines.data());
    copied(cosines_, cosines, stream);
    copied(sines_, sines, stream);
    num_positions_ = num_positions;
}

float* DeviceDecoder::run(const std::vector<std::int32_t>& sources, const float* audio, const Segments& segments, bool causal,
                          bool last_only, Products& products, Stream& stream) {
    const DecoderConfig& c = config_;
    const std::size_t n = segments.num_rows(), q_width = c.num_heads * c.head_width, kv_width = c.num_kv_heads * c.head_width;
    const std::size_t ldx = q_width + 2 * kv_width;
    const AttentionShape shape{c.num_heads, c.num_kv_heads, c.head_width, causal,
                               1.0f / std::sqrt(static_cast<float>(c.head_width))};
    make_rotary(segments.max_length(), stream);
    std::vector<std::int32_t> positions, last_rows;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        for (std::size_t position = 0; position < segments.length(i); ++position)
            positions.push_back(static_cast<std::int32_t>(position));
        last_rows.push_back(static_cast<std::int32_t>(segments.end(i)) - 1);
    }
    const std::int32_t* position = copied(positions_, positions, stream);
    const auto all = attention_tasks(segments, false), last = attention_tasks(segments, true);
    const AttentionTask *all_tasks = copied(tasks_, all, stream), *last_tasks = copied(last_tasks_, last, stream);

    float *x = room<float>(x_, n * c.width), *qkv = room<float>(qkv_, n * ldx);
    room<float>(normed_, n * c.width);
    room<float>(attended_, n * q_width);
    room<float>(gate_up_, n * 2 * c.mlp_width);
    room<float>(hidden_, n * c.mlp_width);
    embeddings_.look_up(copied(sources_, sources, stream), n, audio, x, stream);
    for (const Layer& layer : layers_) {
        rms_norm(x, layer.norm1.as<float>(), n, c.width, c.rms_eps, layer.qkv.dtype, normed_.as<void>(), stream);
        products.run(layer.qkv, normed_.as<void>(), n, qkv);
        rotate(qkv, ldx, position, cosines_.as<float>(), sines_.as<float>(), n, c.num_heads + c.num_kv_heads, c.head_width,
               stream);
        const float *k = qkv + q_width, *v = k + kv_width;
        if (!last_only || &layer != &layers_.back()) {
            attention(shape, qkv, k, v, ldx, all_tasks, all.size(), layer.o.dtype, attended_.as<void>(), stream);
            finish(layer, n, x, products, stream);
            continue;
        }
        // Of the last layer only the last rows go on.
        attention(shape, qkv, k, v, ldx, last_tasks, last.size(), layer.o.dtype, attended_.as<void>(), stream);
        float* last_x = room<float>(last_x_, segments.size() * c.width);
        gather_rows(x, copied(last_rows_, last_rows, stream), segments.size(), c.width, DType::float32, last_x, stream);
        finish(layer, segments.size(), last_x, products, stream);
        return last_x;
    }
    return x;
}

void DeviceDecoder::finish(const Layer& layer, std::size_t num_rows, float* x, Products& products, Stream& stream) {
    products.run(layer.o, attended_.as<void>(), num_rows, x, true);
    rms_norm(x, layer.norm2.as<float>(), num_rows, config_.width, config_.rms_eps, layer.gate_up.dtype, normed_.as<void>(),
             stream);
    products.run(layer.gate_up, normed_.as<void>(), num_rows, gate_up_.as<float>());
    swiglu(gate_up_.as<float>(), num_rows, config_.mlp_width, layer.down.dtype, hidden_.as<void>(), stream);
    products.run(layer.down, hidden_.as<void>(), num_rows, x, true);
}

void DeviceDecoder::norm(const float* x, std::size_t num_rows, float* y, Stream& stream) const {
    rms_norm(x, norm_.as<float>(), num_rows, config_.width, config_.rms_eps, DType::float32, y, stream);
}

}  // namespace harken::cuda

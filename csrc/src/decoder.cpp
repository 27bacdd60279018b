#include "decoder.h"

#include <cmath>
#include <cstring>

#include "attention.h"

namespace harken {

void rotary_tables(const DecoderConfig& c, std::size_t num_positions, float* cosines, float* sines) {
    const std::size_t half = c.head_width / 2;
    for (std::size_t i = 0; i < half; ++i) {
        const auto exponent = 2 * static_cast<double>(i) / static_cast<double>(c.head_width);
        const auto frequency = static_cast<float>(std::pow(c.rope_theta, -exponent));
        for (std::size_t position = 0; position < num_positions; ++position) {
            const float angle = static_cast<float>(position) * frequency;
            cosines[position * half + i] = std::cos(angle);
            sines[position * half + i] = std::sin(angle);
        }
    }
}

/// What every layer writes anew.
struct Decoder::Scratch {
    Buffer<float> normed, qkv, attended, gate_up, hidden;
    Buffer<float> cosines, sines;  // [longest sequence, head_width / 2]

    Scratch(const DecoderConfig& c, std::size_t num_rows, std::size_t num_positions)
        : normed(num_rows * c.width), qkv(num_rows * (c.num_heads + 2 * c.num_kv_heads) * c.head_width),
          attended(num_rows * c.num_heads * c.head_width), gate_up(num_rows * 2 * c.mlp_width),
          hidden(num_rows * c.mlp_width), cosines(num_positions * c.head_width / 2),
          sines(num_positions * c.head_width / 2) {
        rotary_tables(c, num_positions, cosines.data(), sines.data());
    }
};

Decoder::Decoder(const Bundle& bundle) : config_(bundle.decoder) {
    const DecoderConfig& c = config_;
    const std::size_t q_width = c.num_heads * c.head_width, kv_width = c.num_kv_heads * c.head_width;
    embeddings_ = bundle.table("decoder.embed_tokens", c.vocab_size, c.width);
    for (std::size_t i = 0; i < c.num_layers; ++i) {
        const std::string name = "decoder.layers." + std::to_string(i) + ".";
        layers_.push_back({RmsNorm::load(bundle, name + "norm1", c.width, c.rms_eps),
                           RmsNorm::load(bundle, name + "norm2", c.width, c.rms_eps),
                           bundle.matrix(name + "qkv", q_width + 2 * kv_width, c.width),
                           bundle.matrix(name + "o", c.width, q_width),
                           bundle.matrix(name + "gate_up", 2 * c.mlp_width, c.width),
                           bundle.matrix(name + "down", c.width, c.mlp_width)});
    }
    norm_ = RmsNorm::load(bundle, "decoder.norm", c.width, c.rms_eps);
}

Buffer<float> Decoder::run(Buffer<float> x, const Segments& segments, bool causal, bool last_only, ThreadPool& pool) const {
    const DecoderConfig& c = config_;
    const std::size_t n = segments.num_rows(), q_width = c.num_heads * c.head_width, kv_width = c.num_kv_heads * c.head_width;
    const std::size_t ldx = q_width + 2 * kv_width;
    const AttentionShape shape{c.num_heads, c.num_kv_heads, c.head_width, causal,
                               1.0f / std::sqrt(static_cast<float>(c.head_width))};
    Scratch scratch(c, n, segments.max_length());
    for (const Layer& layer : layers_) {
        layer.norm1.run(x.data(), n, scratch.normed.data(), pool);
        linear(layer.qkv, scratch.normed.data(), n, scratch.qkv.data(), false, pool);
        rotate(scratch.qkv.data(), segments, scratch, pool);
        const float *q = scratch.qkv.data(), *k = q + q_width, *v = k + kv_width;
        if (!last_only || &layer != &layers_.back()) {
            attention(shape, q, k, v, ldx, segments, false, scratch.attended.data(), pool);
            finish(layer, scratch.attended.data(), n, x.data(), scratch, pool);
            continue;
        }
        // Of the last layer only the last rows go on.
        Buffer<float> last_q(segments.size() * ldx), last(segments.size() * c.width);
        for (std::size_t i = 0; i < segments.size(); ++i) {
            std::memcpy(last_q.data() + i * ldx, q + (segments.end(i) - 1) * ldx, q_width * sizeof(float));
            std::memcpy(last.data() + i * c.width, x.data() + (segments.end(i) - 1) * c.width, c.width * sizeof(float));
        }
        attention(shape, last_q.data(), k, v, ldx, segments, true, scratch.attended.data(), pool);
        finish(layer, scratch.attended.data(), segments.size(), last.data(), scratch, pool);
        return last;
    }
    return x;
}

void Decoder::finish(const Layer& layer, const float* attended, std::size_t num_rows, float* x, Scratch& scratch,
                     ThreadPool& pool) const {
    const std::size_t mlp = config_.mlp_width;
    linear(layer.o, attended, num_rows, x, true, pool);
    layer.norm2.run(x, num_rows, scratch.normed.data(), pool);
    linear(layer.gate_up, scratch.normed.data(), num_rows, scratch.gate_up.data(), false, pool);
    pool.parallel_for(num_rows, kTaskRows, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            const float* gate = scratch.gate_up.data() + 2 * i * mlp;
            kernels().swiglu(gate, gate + mlp, mlp, scratch.hidden.data() + i * mlp);
        }
    });
    linear(layer.down, scratch.hidden.data(), num_rows, x, true, pool);
}

void Decoder::rotate(float* qkv, const Segments& segments, const Scratch& scratch, ThreadPool& pool) const {
    const std::size_t half = config_.head_width / 2, num_rotated = config_.num_heads + config_.num_kv_heads;
    const std::size_t ldx = (num_rotated + config_.num_kv_heads) * config_.head_width;
    pool.parallel_for(segments.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t s = begin; s < end; ++s)
            for (std::size_t position = 0; position < segments.length(s); ++position) {
                const float *cosine = scratch.cosines.data() + position * half, *sine = scratch.sines.data() + position * half;
                float* head = qkv + (segments.start(s) + position) * ldx;
                for (std::size_t h = 0; h < num_rotated; ++h, head += 2 * half)
                    for (std::size_t i = 0; i < half; ++i) {
                        const float a = head[i], b = head[half + i];
                        head[i] = a * cosine[i] - b * sine[i];
                        head[half + i] = b * cosine[i] + a * sine[i];
                    }
            }
    });
}

}  // namespace harken

#include "cuda/pooled_vectors.h"

#include "cuda/norms.h"
#include "cuda/pointwise.h"

namespace harken::cuda {

DeviceSide::DeviceSide(const PoolHead& head, DeviceBuffer& staging, Stream& stream)
    : weights(head.weights(), staging, stream), has_norm(head.norm().has_value()) {
    if (!has_norm) return;
    norm_weight = numbers_on_device(head.norm()->weight, head.dim(), stream);
    norm_bias = numbers_on_device(head.norm()->bias, head.dim(), stream);
    eps = head.norm()->eps;
}

void DevicePooling::run(const DeviceDecoder& decoder, const float* hidden, std::size_t num_rows,
                        const std::vector<RowRange>& ranges, const DeviceSide* head, const Recipe& recipe, float* vectors,
                        Products& products, Stream& stream) {
    const std::size_t width = decoder.width(), n = ranges.size();
    std::vector<std::int32_t> first, end;
    for (const RowRange& range : ranges) {
        first.push_back(static_cast<std::int32_t>(range.first));
        end.push_back(static_cast<std::int32_t>(range.end));
    }
    float* normed = room<float>(normed_, num_rows * width);
    decoder.norm(hidden, num_rows, normed, stream);
    float* made = room<float>(pooled_, n * width);
    mean_ranges(normed, copied(first_, first, stream), copied(end_, end, stream), n, width, made, stream);
    std::size_t dim = width;
    if (head != nullptr) {
        void* operand = room<float>(operand_, n * width);
        scale_rows(made, n, width, recipe.normalize_before_head, head->weights.dtype, operand, stream);
        dim = head->weights.num_out;
        made = room<float>(projected_, n * dim);
        products.run(head->weights, operand, n, made);
        if (head->has_norm)
            layer_norm(made, head->norm_weight.as<float>(), head->norm_bias.as<float>(), n, dim, head->eps, DType::float32,
                       made, stream);
    }
    float* scaled = room<float>(vectors_, n * dim);
    scale_rows(made, n, dim, recipe.normalize, DType::float32, scaled, stream);
    stream.copy_to_host(vectors, scaled, n * dim * sizeof(float));
    stream.wait();
}

}  // namespace harken::cuda

#include "cuda/cubin_topk.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "error.h"
#include "half.h"

namespace harken::cuda {
namespace {

constexpr std::int64_t kNoRow = std::int64_t{1} << 62;
// Tiles and groups are counted in 32 bits.
constexpr std::size_t kMaxRows = (std::size_t{1} << 31) - 4096;

std::string name_of(const char* what, DType dtype) {
    const char* stored = dtype == DType::float32    ? "fp32"
                         : dtype == DType::float16  ? "fp16"
                         : dtype == DType::bfloat16 ? "bf16"
                         : dtype == DType::int8     ? "i8"
                                                    : "";
    return std::string(what) + stored;
}

const CubinKernel* score_kernel(DType dtype, std::size_t num_queries) noexcept {
    return find_cubin_kernel(name_of("topk score ", dtype), {}, {"BLOCK_Q", static_cast<int>(num_queries)});
}

const CubinKernel* rescore_kernel(DType dtype) noexcept {
    return find_cubin_kernel(name_of("topk rescore ", dtype), {});
}

/// The most queries that a kernel was compiled for.
std::size_t largest_block(DType dtype) {
    std::size_t most = 0;
    for (const CubinKernel& kernel : cubin_kernels())
        if (kernel.name == name_of("topk score ", dtype))
            most = std::max(most, static_cast<std::size_t>(kernel.constant("BLOCK_Q")));
    return most;
}

/// Queries as the products take them, with rows of zeros after them.
std::vector<std::byte> operands(const float* queries, std::size_t num_queries, std::size_t num_padded, const Corpus& shape) {
    const std::size_t n = num_queries * shape.width;
    const bool wide = shape.dtype == DType::float32;
    std::vector<std::byte> out(num_padded * shape.width * (wide ? sizeof(float) : sizeof(std::uint16_t)));
    if (wide) {
        std::memcpy(out.data(), queries, n * sizeof(float));
        return out;
    }
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint16_t bits = shape.dtype == DType::bfloat16 ? float_to_bfloat16(queries[i]) : float_to_half(queries[i]);
        std::memcpy(out.data() + i * sizeof bits, &bits, sizeof bits);
    }
    return out;
}

}  // namespace

bool CubinTopK::available(const Corpus& shape, int device) noexcept {
    const CubinKernel* const score = score_kernel(shape.dtype, 1);
    // Rows are read in whole blocks of their width.
    return has_code(score, device) && has_code(rescore_kernel(shape.dtype), device) && shape.num_rows > 0 &&
           shape.num_rows <= kMaxRows && shape.width % static_cast<std::size_t>(score->constant("BLOCK_D")) == 0;
}

CubinTopK::CubinTopK(const Corpus& shape, int device) : shape_(shape), device_(device) {
    if (!available(shape, device))
        throw Error(HARKEN_BACKEND_ERROR, "topk: this library has no Triton kernels for sm_" +
                                              std::to_string(compute_capability(device)) + " and " +
                                              std::to_string(shape.num_rows) + " rows of " + std::to_string(shape.width) + " " +
                                              dtype_name(shape.dtype) + " numbers");
    const CubinKernel& rescore = *rescore_kernel(shape.dtype);
    const std::size_t num_groups = shape.num_rows / static_cast<std::size_t>(rescore.constant("GROUP")) + 1;
    const auto max_bytes = static_cast<std::size_t>(rescore.constant("MAX_KEYS_BYTES"));
    const std::size_t in_memory = max_bytes / (num_groups * sizeof(std::int64_t));
    max_queries_ = std::clamp<std::size_t>(in_memory, 1, largest_block(shape.dtype));
}

CubinTopK::Keys CubinTopK::search(const DeviceBuffer& rows, const DeviceBuffer& scales, const float* queries,
                                  std::size_t num_queries, std::size_t k, const DeviceBuffer& filter,
                                  const ChooseKeys& choose) {
    const OnDevice here(device_);
    const LoadedKernel score(*score_kernel(shape_.dtype, num_queries), device_);
    const LoadedKernel rescore(*rescore_kernel(shape_.dtype), device_);
    const auto size = [](const LoadedKernel& kernel, const char* name) {
        return static_cast<std::size_t>(kernel.constant(name));
    };
    const auto number = [](std::size_t n) { return static_cast<std::int32_t>(n); };
    const std::size_t group = size(score, "GROUP"), tile = size(score, "BLOCK_N"), block = size(score, "BLOCK_Q");
    const std::vector<std::byte> padded = operands(queries, num_queries, block, shape_);
    const std::vector<float> floors(num_queries, -std::numeric_limits<float>::infinity());
    queries_.reserve(padded.size());
    queries_.copy_from(padded.data(), padded.size());
    floors_.reserve(floors.size() * sizeof(float));
    floors_.copy_from(floors.data(), floors.size() * sizeof(float));
    flag_.reserve(sizeof kNoRow);
    flag_.copy_from(&kNoRow, sizeof kNoRow);

    const std::size_t num_tiles = (shape_.num_rows + tile - 1) / tile, num_groups = num_tiles * (tile / group);
    const auto last = static_cast<std::int64_t>(shape_.num_rows);
    const std::int64_t first = 0;
    // What is not there is not read.
    const DeviceBuffer& factors = scales.as<char>() != nullptr ? scales : queries_;
    group_keys_.reserve(num_queries * num_groups * sizeof(std::int64_t));
    score.launch(num_tiles, {queries_, rows, factors, filter, queries_, floors_, group_keys_, flag_, number(shape_.width),
                             number(num_queries), number(shape_.width), first, last, number(num_groups)},
                 nullptr);
    const std::size_t wanted = k + size(rescore, "SPARE_GROUPS");
    const ChosenKeys chosen = choose(group_keys_.as<std::int64_t>(), num_queries, num_groups, wanted);
    row_keys_.reserve(num_queries * chosen.count * group * sizeof(std::int64_t));
    rescore.launch(num_queries * chosen.count,
                   {queries_, rows, factors, filter, queries_, static_cast<const void*>(chosen.keys), row_keys_,
                    number(shape_.width), number(chosen.count), number(shape_.width), first, last},
                   nullptr);
    std::int64_t flagged = kNoRow;
    flag_.copy_to(&flagged, sizeof flagged);
    return {row_keys_.as<std::int64_t>(), chosen.count * group, flagged == kNoRow ? -1 : flagged, tile};
}

}  // namespace harken::cuda

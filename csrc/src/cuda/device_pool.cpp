#include "cuda/device_pool.h"

#include <cstdint>
#include <limits>
#include <string>

#include "error.h"
#include "half.h"

namespace harken::cuda {
namespace {

// Rows are read in whole vectors.
constexpr std::size_t kWidthStep = 16;

const char* rows_name(DType dtype) noexcept {
    switch (dtype) {
        case DType::float32: return "pool rows fp32";
        case DType::float16: return "pool rows fp16";
        case DType::bfloat16: return "pool rows bf16";
        default: return "";
    }
}

const CubinKernel* rows_kernel(std::size_t width, DType dtype) noexcept {
    if (width == 0 || width % kWidthStep != 0 || width > std::numeric_limits<std::int32_t>::max()) return nullptr;
    return find_cubin_kernel(rows_name(dtype), {}, {"BLOCK_W", static_cast<int>(width)});
}

/// Layer norm where there is a head, else unit length.
const CubinKernel* tail_kernel(std::size_t width, bool has_head) noexcept {
    if (width > std::numeric_limits<std::int32_t>::max()) return nullptr;
    return find_cubin_kernel("pool tail", {{"HAS_HEAD", has_head}, {"NORMALIZE_INPUT", 0}, {"NORMALIZE", !has_head}},
                             {"BLOCK_V", static_cast<int>(width)});
}

void refuse(const std::string& why) { throw Error(HARKEN_INVALID_ARGUMENT, "pool: " + why); }

/// A sequence of the kernels is what lies from one range to the next; the range is told from its first row.
struct Bounds {
    std::vector<std::int32_t> numbers;  // first row of each sequence and the end of the last, then the ranges
    std::size_t spans;                  // where the ranges begin
    std::size_t end;

    Bounds(const std::vector<RowRange>& ranges, std::size_t num_rows) {
        if (num_rows > std::numeric_limits<std::int32_t>::max() - ranges.size())
            refuse(std::to_string(num_rows) + " rows, wanted fewer than 2^31");
        end = 0;
        numbers.push_back(0);
        for (std::size_t b = 0; b < ranges.size(); ++b) {
            const RowRange& r = ranges[b];
            if (r.first < end || r.first >= r.end || r.end > num_rows)
                refuse("range " + std::to_string(b) + " is rows " + std::to_string(r.first) + " to " + std::to_string(r.end) +
                       "; wanted rows from " + std::to_string(end) + " on, of " + std::to_string(num_rows));
            if (b > 0) numbers.push_back(static_cast<std::int32_t>(r.first));
            end = r.end;
        }
        numbers.push_back(static_cast<std::int32_t>(end));
        // The kernels take the ranges' address for a multiple of 16 bytes.
        spans = (numbers.size() + 3) / 4 * 4;
        numbers.resize(spans);
        for (std::size_t b = 0; b < ranges.size(); ++b) {
            numbers.push_back(static_cast<std::int32_t>(ranges[b].first) - numbers[b]);
            numbers.push_back(static_cast<std::int32_t>(ranges[b].end) - numbers[b]);
        }
    }
};

}  // namespace

bool DevicePool::available(std::size_t width, DType dtype, int device) noexcept {
    return has_code(rows_kernel(width, dtype), device) && has_code(find_cubin_kernel("pool finish", {}), device) &&
           has_code(tail_kernel(width, false), device);
}

DevicePool::DevicePool(const RmsNorm& norm, DType dtype, int device)
    : width_(norm.width), eps_(norm.eps), dtype_(dtype), device_(device) {
    const int capability = compute_capability(device);
    if (!available(width_, dtype, device))
        throw Error(HARKEN_BACKEND_ERROR, "pool: this library has no CUDA kernels for sm_" + std::to_string(capability) +
                                              " and states of " + std::to_string(width_) + " " + dtype_name(dtype) +
                                              " numbers");
    const OnDevice here(device);
    rows_ = LoadedKernel(*rows_kernel(width_, dtype), device);
    finish_ = LoadedKernel(*find_cubin_kernel("pool finish", {}), device);
    weight_ = DeviceBuffer(width_ * dtype_bytes(dtype));
    if (dtype == DType::float32) {
        weight_.copy_from(norm.weight, width_ * sizeof(float));
    } else {
        std::vector<std::uint16_t> rounded(width_);
        for (std::size_t i = 0; i < width_; ++i)
            rounded[i] = dtype == DType::float16 ? float_to_half(norm.weight[i]) : float_to_bfloat16(norm.weight[i]);
        weight_.copy_from(rounded.data(), width_ * sizeof(std::uint16_t));
    }
    // Copies to the device return before they are there, and other streams do not wait for them; this one does.
    std::uint16_t arrived;
    weight_.copy_to(&arrived, sizeof arrived);
}

void DevicePool::run(const DeviceBuffer& hidden, std::size_t num_rows, const std::vector<RowRange>& ranges,
                     const DeviceHead* head, bool normalize, DeviceBuffer& vectors, void* stream) {
    if (ranges.empty()) return;
    const std::size_t num_vectors = ranges.size(), dim = head != nullptr ? head->dim : width_;
    if (head != nullptr && head->norm_weight != nullptr && tail_kernel(dim, true) == nullptr)
        refuse("the head's vectors have " + std::to_string(dim) + " numbers, which is more than the CUDA kernels take");
    if (normalize && tail_kernel(dim, false) == nullptr)
        refuse("vectors have " + std::to_string(dim) + " numbers, which is more than the CUDA kernels take");
    const Bounds bounds(ranges, num_rows);
    const auto chunk = static_cast<std::size_t>(rows_.constant("CHUNK"));
    const auto block = static_cast<std::size_t>(finish_.constant("BLOCK_W"));
    const std::size_t num_slots = bounds.end / chunk + num_vectors;
    const auto width = static_cast<std::int32_t>(width_);

    const std::lock_guard lock(turn_);
    const OnDevice here(device_);
    bounds_.reserve(bounds.numbers.size() * sizeof(std::int32_t));
    copy_to_device(device_, bounds_, bounds.numbers.data(), bounds.numbers.size() * sizeof(std::int32_t), stream);
    const std::int32_t* const spans = bounds_.as<std::int32_t>() + bounds.spans;
    partial_.reserve(num_slots * width_ * sizeof(float));
    vectors.reserve(num_vectors * dim * sizeof(float));
    if (head != nullptr) pooled_.reserve(num_vectors * width_ * sizeof(float));
    float* const pooled = head != nullptr ? pooled_.as<float>() : vectors.as<float>();
    const auto count = static_cast<std::int32_t>(num_vectors);
    rows_.launch(num_slots, {hidden, weight_, bounds_, spans, partial_, width, count, width, eps_}, stream);
    finish_.launch(num_vectors, {partial_, bounds_, spans, static_cast<const void*>(pooled), width}, stream,
                   (width_ + block - 1) / block);
    if (head != nullptr) {
        float* const out = vectors.as<float>();
        if (head->normalize_input) tail(pooled, num_vectors, width_, nullptr, pooled, stream);
        if (head->norm_weight == nullptr) {
            head->project(pooled, num_vectors, out, stream);
        } else {
            projected_.reserve(num_vectors * dim * sizeof(float));
            head->project(pooled, num_vectors, projected_.as<float>(), stream);
            tail(projected_.as<float>(), num_vectors, dim, head, out, stream);
        }
    }
    if (normalize) tail(vectors.as<float>(), num_vectors, dim, nullptr, vectors.as<float>(), stream);
}

void DevicePool::tail(const float* x, std::size_t num_rows, std::size_t width, const DeviceHead* head, float* out,
                      void* stream) {
    const CubinKernel* const kernel = tail_kernel(width, head != nullptr);
    const auto number = static_cast<std::int32_t>(width);
    // Where there is no head, its weights are not read.
    const float* const weight = head != nullptr ? head->norm_weight : x;
    const float* const bias = head != nullptr ? head->norm_bias : x;
    const float eps = head != nullptr ? head->eps : 0.0f;
    const LoadedKernel loaded(*kernel, device_);
    loaded.launch(num_rows, {x, x, weight, bias, static_cast<const float*>(out), number, number, eps, kMinNorm}, stream);
}

}  // namespace harken::cuda

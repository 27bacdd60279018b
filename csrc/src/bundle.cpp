#include "bundle.h"

#include <cstdint>
#include <cstring>
#include <string_view>

#include "error.h"
#include "half.h"
#include "kernels.h"
#include "logmel.h"
#include "mapped_file.h"

namespace harken {
namespace {

constexpr std::int64_t kBundleVersion = 1;

[[noreturn]] void damaged(const std::string& where, const std::string& text) {
    throw Error(HARKEN_FILE_FORMAT_ERROR, where + ": " + text);
}

Json read_manifest(const std::string& folder) {
    const std::string path = folder + "/manifest.json";
    const MappedFile file(path);
    const auto bytes = file.bytes();
    Json json = parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
    const Json* format = json.is_object() ? json.find("format") : nullptr;
    const Json* target = format != nullptr ? json.find("target") : nullptr;
    if (target == nullptr || !format->is_string() || format->as_string() != "harken-export" || !target->is_string() ||
        target->as_string() != "bundle")
        damaged(path, "is no manifest of a bundle");
    if (const std::int64_t version = json.at("bundle_version").as_int(); version != kBundleVersion)
        throw Error(HARKEN_MODEL_ERROR, path + ": bundle of version " + std::to_string(version) +
                                            "; this library reads version " + std::to_string(kBundleVersion));
    return json;
}

std::size_t size_of(const Json& json, const char* name, const std::string& where) {
    const std::int64_t value = json.at(name).as_int();
    if (value < 1 || value > (std::int64_t{1} << 24))
        damaged(where, std::string(name) + " is " + std::to_string(value) + "; wanted 1 to 2^24");
    return static_cast<std::size_t>(value);
}

double positive(const Json& json, const char* name, double largest, const std::string& where) {
    const double value = json.at(name).as_double();
    if (!(value > 0 && value <= largest))
        damaged(where, std::string(name) + " is " + std::to_string(value) + "; wanted more than 0 and no more than " + std::to_string(largest));
    return value;
}

TowerConfig read_tower(const Json& json, const std::string& where) {
    TowerConfig tower;
    tower.front_end = json.at("front_end").as_string();
    tower.width = size_of(json, "width", where);
    tower.num_layers = size_of(json, "num_layers", where);
    tower.num_heads = size_of(json, "num_heads", where);
    tower.mlp_width = size_of(json, "mlp_width", where);
    tower.max_positions = size_of(json, "max_positions", where);
    tower.max_samples = size_of(json, "max_samples", where);
    if (json.find("window") != nullptr) tower.window = size_of(json, "window", where);
    tower.norm_eps = static_cast<float>(positive(json, "norm_eps", 1, where));
    tower.projects = json.at("projects").as_bool();
    if (tower.width % tower.num_heads != 0) damaged(where, "tower: width is no multiple of num_heads");
    const MelSpec spec = mel_spec(tower.front_end);
    const std::size_t frames = tower.window != 0 ? tower.window : tower.max_samples / static_cast<std::size_t>(spec.hop_length);
    if (tower.max_samples <= static_cast<std::size_t>(spec.n_fft) || (frames + 1) / 2 > tower.max_positions)
        damaged(where, "tower: max_samples and window do not fit max_positions");
    return tower;
}

DecoderConfig read_decoder(const Json& json, const std::string& where) {
    DecoderConfig decoder;
    decoder.width = size_of(json, "width", where);
    decoder.num_layers = size_of(json, "num_layers", where);
    decoder.num_heads = size_of(json, "num_heads", where);
    decoder.num_kv_heads = size_of(json, "num_kv_heads", where);
    decoder.head_width = size_of(json, "head_width", where);
    decoder.mlp_width = size_of(json, "mlp_width", where);
    decoder.vocab_size = size_of(json, "vocab_size", where);
    decoder.rms_eps = static_cast<float>(positive(json, "rms_eps", 1, where));
    decoder.rope_theta = positive(json, "rope_theta", 1e12, where);
    if (decoder.num_heads % decoder.num_kv_heads != 0 || decoder.head_width % 2 != 0)
        damaged(where, "decoder: num_heads is no multiple of num_kv_heads, or head_width is odd");
    return decoder;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const std::int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
    return text + "]";
}

std::int64_t signed_size(std::size_t n) { return static_cast<std::int64_t>(n); }

template <typename T>
const T* aligned(const TensorView& tensor, const std::string& name) {
    if (reinterpret_cast<std::uintptr_t>(tensor.data) % alignof(T) != 0) damaged(name, "does not start at a multiple of its size");
    return tensor.as<T>();
}

const void* data_of(const TensorView& tensor, const std::string& name) {
    switch (tensor.dtype) {
        case DType::float32: return aligned<float>(tensor, name);
        case DType::bfloat16:
        case DType::float16: return aligned<std::uint16_t>(tensor, name);
        case DType::int8: return tensor.data;
        default: damaged(name, std::string("is ") + dtype_name(tensor.dtype) + "; wanted float32, bfloat16, float16 or int8");
    }
}

}  // namespace

void Table::copy_row(std::size_t row, float* out) const {
    const std::size_t at = row * width;
    switch (dtype) {
        case DType::float32: std::memcpy(out, static_cast<const float*>(rows) + at, width * sizeof(float)); break;
        case DType::bfloat16: bfloat16_to_float(static_cast<const std::uint16_t*>(rows) + at, width, out); break;
        case DType::float16: half_to_float(static_cast<const std::uint16_t*>(rows) + at, width, out); break;
        default:
            for (std::size_t i = 0; i < width; ++i)
                out[i] = scales[row] * static_cast<float>(static_cast<const std::int8_t*>(rows)[at + i]);
    }
}

Bundle::Bundle(const std::string& folder) : Bundle(folder, read_manifest(folder)) {}

Bundle::Bundle(const std::string& folder, const Json& manifest)
    : tokenizer_path(folder + "/tokenizer.json"), folder_(folder), weights_(folder + "/weights.safetensors") {
    const std::string where = folder + "/manifest.json";
    const Json& model = manifest.at("model");
    tower = read_tower(model.at("tower"), where);
    decoder = read_decoder(model.at("decoder"), where);
    projects = model.at("projects").as_bool();
    if (projects == tower.projects) damaged(where, "wanted one projection, inside the tower or after it");
    const std::int64_t token = model.at("audio_token_id").as_int();
    if (token < 0 || token >= signed_size(decoder.vocab_size)) damaged(where, "audio_token_id is outside the vocabulary");
    audio_token_id = static_cast<std::size_t>(token);
    fingerprint = model.at("fingerprint_id").as_string();
    recipe = read_recipe(manifest.at("recipe"), where);
    dim = size_of(manifest.at("dims"), "vector", where);
    for (const bool has_head : {recipe.has_audio_head, recipe.has_text_head})
        if (!has_head && dim != decoder.width) damaged(where, "without a head, vectors are as wide as the decoder");
}

const TensorView& Bundle::shaped(const std::string& name, const std::vector<std::int64_t>& shape) const {
    const TensorView& tensor = weights_.find(name);
    if (tensor.shape != shape)
        damaged(folder_, name + " has shape " + shape_text(tensor.shape) + "; wanted " + shape_text(shape));
    return tensor;
}

const float* Bundle::numbers(const std::string& name, std::size_t n, std::optional<std::size_t> m) const {
    std::vector<std::int64_t> shape{signed_size(n)};
    if (m) shape.push_back(signed_size(*m));
    const TensorView& tensor = shaped(name, shape);
    if (tensor.dtype != DType::float32)
        damaged(folder_, name + " is " + dtype_name(tensor.dtype) + "; wanted float32");
    return aligned<float>(tensor, name);
}

PackedMatrix Bundle::matrix(const std::string& name, std::size_t num_out, std::size_t num_in) const {
    const std::size_t num_panels = (num_out + kPanel - 1) / kPanel;
    const TensorView& panels =
        shaped(name + ".panels", {signed_size(num_panels), signed_size(num_in), signed_size(kPanel)});
    PackedMatrix matrix;
    matrix.dtype = panels.dtype;
    matrix.panels = data_of(panels, name);
    if (weights_.has(name + ".bias")) matrix.bias = numbers(name + ".bias", num_out);
    matrix.num_out = num_out;
    matrix.num_in = num_in;
    if (panels.dtype == DType::int8)
        matrix.scales = numbers(name + ".scales", (num_in + kScaleSpan - 1) / kScaleSpan, num_panels * kPanel);
    return matrix;
}

Table Bundle::table(const std::string& name, std::size_t num_rows, std::size_t width) const {
    const TensorView& rows = shaped(name, {signed_size(num_rows), signed_size(width)});
    Table table;
    table.dtype = rows.dtype;
    table.rows = data_of(rows, name);
    if (rows.dtype == DType::int8) table.scales = numbers(name + ".scales", num_rows);
    table.num_rows = num_rows;
    table.width = width;
    return table;
}

}  // namespace harken

#include "recipe.h"

#include <array>
#include <utility>

#include "error.h"

namespace harken {
namespace {

[[noreturn]] void refuse(const std::string& where, const char* field, const std::string& text) {
    throw Error(HARKEN_MODEL_ERROR, where + ": recipe: " + field + " " + text);
}

template <typename T, std::size_t N>
T one_of(const Json& json, const char* field, const std::array<std::pair<const char*, T>, N>& known,
         const std::string& where) {
    const std::string& got = json.at(field).as_string();
    std::string wanted;
    for (const auto& [name, value] : known) {
        if (got == name) return value;
        wanted += (wanted.empty() ? "" : ", ") + std::string(name);
    }
    refuse(where, field, "is \"" + got + "\"; libharken knows " + wanted);
}

std::optional<std::string> optional_template(const Json& json, const char* field, const std::string& place,
                                             const std::string& where) {
    const Json* value = json.find(field);
    if (value == nullptr) return std::nullopt;
    const std::string& text = value->as_string();
    const std::size_t first = text.find(place);
    if (first == std::string::npos || text.find(place, first + 1) != std::string::npos)
        refuse(where, field, "must hold " + place + " exactly once");
    return text;
}

double seconds(const Json& json, const char* field, const std::string& where) {
    const double value = json.at(field).as_double();
    if (!(value >= 0 && value <= 1e6)) refuse(where, field, "must lie in 0 to 1e6 s");
    return value;
}

}  // namespace

Recipe read_recipe(const Json& json, const std::string& where) {
    static constexpr std::array<std::pair<const char*, Pooling>, 3> kPoolings{
        {{"mean", Pooling::mean}, {"mean-content", Pooling::mean_content}, {"last", Pooling::last}}};
    static constexpr std::array<std::pair<const char*, LongAudio>, 3> kLongAudio{
        {{"error", LongAudio::error}, {"truncate", LongAudio::truncate}, {"window-mean", LongAudio::window_mean}}};
    static constexpr std::array<std::pair<const char*, bool>, 2> kAttention{{{"causal", true}, {"bidirectional", false}}};

    Recipe recipe;
    recipe.name = json.at("name").as_string();
    recipe.audio_template = optional_template(json, "audio_template", "{audio}", where);
    recipe.text_template = optional_template(json, "text_template", "{text}", where);
    recipe.audio_text_template = optional_template(json, "audio_text_template", "{audio}", where);
    static_cast<void>(optional_template(json, "audio_text_template", "{text}", where));
    recipe.default_audio_instruction = json.at("default_audio_instruction").as_string();
    recipe.default_text_instruction = json.at("default_text_instruction").as_string();
    recipe.pooling = one_of(json, "pooling", kPoolings, where);
    recipe.causal = one_of(json, "attention", kAttention, where);
    recipe.normalize_before_head = json.at("normalize_before_head").as_bool();
    recipe.has_audio_head = json.find("audio_head") != nullptr;
    recipe.has_text_head = json.find("text_head") != nullptr;
    recipe.normalize = json.at("normalize").as_bool();
    recipe.max_audio_s = seconds(json, "max_audio_s", where);
    recipe.min_audio_s = seconds(json, "min_audio_s", where);
    if (recipe.max_audio_s <= 0 || recipe.min_audio_s > recipe.max_audio_s)
        refuse(where, "max_audio_s", "must be positive and min_audio_s not larger");
    recipe.long_audio = one_of(json, "long_audio", kLongAudio, where);
    if (const Json* value = json.find("max_text_tokens")) {
        if (value->as_int() < 1) refuse(where, "max_text_tokens", "must be at least 1");
        recipe.max_text_tokens = static_cast<std::size_t>(value->as_int());
    }
    recipe.strip_text_end = json.at("strip_text_end").as_bool();
    if (const Json* value = json.find("silence_db")) {
        recipe.silence_db = value->as_double();
        if (!(*recipe.silence_db >= 0 && *recipe.silence_db <= 1000)) refuse(where, "silence_db", "must lie in 0 to 1000 dB");
        recipe.silence_s = seconds(json, "silence_s", where);
    }
    return recipe;
}

}  // namespace harken

/// \file
/// What makes a published system that system, as data: the fields of engine/recipes/recipe.py that libharken reads.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "json.h"

namespace harken {

enum class Pooling { mean, mean_content, last };
enum class LongAudio { error, truncate, window_mean };

struct Recipe {
    std::string name;
    std::optional<std::string> audio_template, text_template, audio_text_template;
    std::string default_audio_instruction, default_text_instruction;
    Pooling pooling = Pooling::mean;
    bool causal = true;
    bool normalize_before_head = false;
    bool has_audio_head = false, has_text_head = false;
    bool normalize = true;
    double max_audio_s = 30, min_audio_s = 0;
    LongAudio long_audio = LongAudio::truncate;
    std::optional<std::size_t> max_text_tokens;
    bool strip_text_end = false;
    std::optional<double> silence_db;  ///< how far below the loudest 20 ms is silence, in clips that are cut into windows
    double silence_s = 1;              ///< longer silences are dropped
};

/// \throws Error  HARKEN_MODEL_ERROR: a field is missing, or has a value that libharken does not know
[[nodiscard]] Recipe read_recipe(const Json& json, const std::string& where);

}  // namespace harken

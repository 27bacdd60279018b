/// \file
/// A model on a device against the same model on the CPU, through the C++ interface.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.h"
#include "harken/harken.hpp"
#include "random.h"
#include "tiny_bundle.h"

using harken::Clip;
using harken::Model;
using harken::Vectors;

inline const std::vector<std::string_view> kTexts{"a", "rain on a roof", "Glockenspiel \xf0\x9f\x94\x94",
                                                  "a dog barks twice, then nothing more"};

inline std::vector<std::vector<float>> sounds(std::initializer_list<std::size_t> lengths) {
    Random random;
    std::vector<std::vector<float>> made;
    for (const std::size_t n : lengths) made.push_back(random.numbers(n));
    return made;
}

inline std::vector<Clip> clips_of(const std::vector<std::vector<float>>& sounds) {
    std::vector<Clip> clips;
    for (const auto& sound : sounds) clips.push_back({sound, 16000});
    return clips;
}

inline void near(const Vectors& got, const Vectors& want, double tolerance) {
    CHECK(got.size() == want.size() && got.dim == want.dim);
    for (std::size_t i = 0; i < got.values.size(); ++i) CHECK_NEAR(got.values[i], want.values[i], tolerance);
}

/// Sounds and sentences of many lengths, in batches of several and alone.
/// \param runner      what the device's runner must be called; nullptr: anything
/// \param bit_by_bit  a vector has the same bits whatever else is computed with it
inline void same_vectors(const TinyOptions& options, const char* runner, bool bit_by_bit) {
    const TinyBundle bundle(options);
    const Model want(bundle.path(), {.num_threads = 1});
    Model got(bundle.path(), {.num_threads = 1, .batch_tokens = 60});
    got.to_cuda();
    CHECK(runner == nullptr || got.runner() == runner);
    const auto heard = sounds({700, 16000, 3333, 12000});
    const std::vector<Clip> clips = clips_of(heard);
    const Vectors audio = got.encode_audio(clips), text = got.encode_text(kTexts);
    near(audio, want.encode_audio(clips), 1e-4);
    near(text, want.encode_text(kTexts), 1e-4);
    if (!bit_by_bit) return;
    const std::vector<float> alone = got.encode_audio(clips[2]), said = got.encode_text(kTexts[0]);
    CHECK(std::equal(alone.begin(), alone.end(), audio[2].begin()));
    CHECK(std::equal(said.begin(), said.end(), text[0].begin()));
}

/// The same for every kind of tiny model.
inline void same_vectors(const char* runner, bool bit_by_bit) {
    same_vectors({}, runner, bit_by_bit);
    same_vectors({.window = "40"}, runner, bit_by_bit);
    same_vectors({.recipe = {{"pooling", "\"last\""}}, .heads = false}, runner, bit_by_bit);
    same_vectors(
        {.recipe = {{"pooling", "\"mean-content\""}, {"attention", "\"bidirectional\""}, {"normalize_before_head", "true"}}},
        runner, bit_by_bit);
}

/// A bundle of the exporter's.
/// \param least  cosine of a device's vector to the CPU's; 1 asks for components within 1e-4
inline void check_bundle(const std::string& folder, double least) {
    const Model want(folder, {.num_threads = 1});
    Model got(folder, {.num_threads = 1, .batch_tokens = 100});
    got.to_cuda();
    const auto heard = sounds({321, 16000, 5001});
    const std::vector<Clip> clips = clips_of(heard);
    const std::pair<Vectors, Vectors> pairs[] = {{got.encode_audio(clips), want.encode_audio(clips)},
                                                 {got.encode_text(kTexts), want.encode_text(kTexts)}};
    double worst = 1;
    for (const auto& [a, b] : pairs)
        for (std::size_t i = 0; i < a.size(); ++i) {
            double product = 0, of_a = 0, of_b = 0;
            for (std::size_t j = 0; j < a.dim; ++j) {
                product += static_cast<double>(a[i][j]) * b[i][j];
                of_a += static_cast<double>(a[i][j]) * a[i][j];
                of_b += static_cast<double>(b[i][j]) * b[i][j];
                if (least == 1) CHECK_NEAR(a[i][j], b[i][j], 1e-4);
            }
            worst = std::fmin(worst, product / std::sqrt(of_a * of_b));
        }
    std::printf("least cosine %.7f\n", worst);
    CHECK(least == 1 || worst >= least);
}

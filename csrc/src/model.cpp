#include "model.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "batching.h"
#include "clip.h"
#include "cpus.h"
#include "error.h"
#include "packed_prompts.h"

namespace harken {
namespace {

constexpr std::size_t kBatchTokens = 2048;
// Sounds in memory at once: those of a few batches.
constexpr std::size_t kLoadedSources = 32;

std::optional<PoolHead> optional_head(const Bundle& bundle, bool wanted, const std::string& name) {
    return wanted ? std::optional<PoolHead>(std::in_place, bundle, name) : std::nullopt;
}

std::optional<Template> optional_template(const Bundle& bundle, const Tokenizer& tokenizer,
                                          const std::optional<std::string>& text) {
    if (!text) return std::nullopt;
    return Template(tokenizer, *text, static_cast<std::int32_t>(bundle.audio_token_id), bundle.recipe.max_text_tokens,
                    bundle.recipe.strip_text_end);
}

}  // namespace

/// A piece of a sound that is embedded at once.
struct Model::Window {
    std::size_t row;
    std::span<const float> samples;
    Prompt prompt;
};

struct Model::Loaded {
    std::size_t row = 0;
    std::vector<float> samples;
    std::vector<std::span<const float>> windows;
};

Model::Model(const std::string& folder, std::size_t num_threads, std::size_t batch_tokens)
    : bundle_(folder), pool_(num_threads_of(num_threads)), batch_tokens_(batch_tokens == 0 ? kBatchTokens : batch_tokens),
      tokenizer_(Tokenizer::from_file(bundle_.tokenizer_path)), tower_(bundle_),
      projector_(bundle_.projects ? std::optional(bundle_.matrix("projector", bundle_.decoder.width, bundle_.tower.width))
                                  : std::nullopt),
      decoder_(bundle_), audio_head_(optional_head(bundle_, bundle_.recipe.has_audio_head, "heads.audio")),
      text_head_(optional_head(bundle_, bundle_.recipe.has_text_head, "heads.text")),
      audio_template_(optional_template(bundle_, tokenizer_, bundle_.recipe.audio_template)),
      text_template_(optional_template(bundle_, tokenizer_, bundle_.recipe.text_template)),
      audio_text_template_(optional_template(bundle_, tokenizer_, bundle_.recipe.audio_text_template)) {
    if (tokenizer_.vocab_size() > bundle_.decoder.vocab_size)
        throw Error(HARKEN_MODEL_ERROR, bundle_.tokenizer_path + ": has ids up to " +
                                            std::to_string(tokenizer_.vocab_size() - 1) + ", the decoder " +
                                            std::to_string(bundle_.decoder.vocab_size) + " rows");
}

std::string_view Model::instruction_of(const Template& prompt, std::optional<std::string_view> given,
                                       const std::string& own) const {
    if (given && !prompt.takes_instruction())
        throw Error(HARKEN_INVALID_ARGUMENT, "recipe " + bundle_.recipe.name + " takes no instruction");
    return given ? *given : own;
}

Model::Loaded Model::load(const Source& source, std::size_t row) const {
    Loaded loaded;
    loaded.row = row;
    loaded.samples = source.load(bundle_.recipe, sample_rate_hz());
    loaded.windows = cut_windows(loaded.samples, sample_rate_hz(), bundle_.recipe);
    if (tower_.num_tokens(loaded.windows.back().size()) == 0) loaded.windows.pop_back();
    if (loaded.windows.empty())
        throw Error(HARKEN_AUDIO_ERROR, source.name + ": " + std::to_string(loaded.samples.size()) + " samples at " +
                                            std::to_string(sample_rate_hz()) + " Hz are too short to hear anything in");
    return loaded;
}

void Model::encode_audio(const std::vector<Source>& sources, std::optional<std::string_view> instruction, float* vectors,
                         const OnFailure& on_failure) const {
    if (!audio_template_) throw Error(HARKEN_INVALID_ARGUMENT, "recipe " + bundle_.recipe.name + " takes no sounds");
    encode_sources(sources, {}, *audio_template_, instruction, vectors, on_failure);
}

void Model::encode_audio_text(const std::vector<Source>& sources, const std::vector<std::string_view>& texts,
                              std::optional<std::string_view> instruction, float* vectors, const OnFailure& on_failure) const {
    if (!audio_text_template_)
        throw Error(HARKEN_INVALID_ARGUMENT, "recipe " + bundle_.recipe.name + " takes no sound together with a text");
    for (std::size_t i = 0; i < texts.size(); ++i) check_text(texts[i], "texts[" + std::to_string(i) + "]: ");
    encode_sources(sources, texts, *audio_text_template_, instruction, vectors, on_failure);
}

void Model::encode_sources(const std::vector<Source>& sources, const std::vector<std::string_view>& texts,
                           const Template& prompt, std::optional<std::string_view> instruction, float* vectors,
                           const OnFailure& on_failure) const {
    const std::string_view given = instruction_of(prompt, instruction, bundle_.recipe.default_audio_instruction);
    for (std::size_t first = 0; first < sources.size(); first += kLoadedSources) {
        std::vector<Loaded> loaded;
        for (std::size_t i = first; i < std::min(sources.size(), first + kLoadedSources); ++i) {
            try {
                loaded.push_back(load(sources[i], i));
            } catch (const Error& error) {
                if (!on_failure) throw;
                std::fill_n(vectors + i * dim(), dim(), std::numeric_limits<float>::quiet_NaN());
                on_failure(i, error.code(), error.what());
            }
        }
        encode_windows(loaded, texts, prompt, given, vectors);
    }
}

void Model::encode_windows(const std::vector<Loaded>& loaded, const std::vector<std::string_view>& texts,
                           const Template& prompt, std::string_view instruction, float* vectors) const {
    std::vector<Window> windows;
    std::vector<std::size_t> num_tokens;
    for (const Loaded& sound : loaded)
        for (const auto& samples : sound.windows) {
            const std::string_view text = texts.empty() ? std::string_view() : texts[sound.row];
            windows.push_back({sound.row, samples, prompt.audio(tower_.num_tokens(samples.size()), instruction, text)});
            num_tokens.push_back(windows.back().prompt.ids.size());
        }
    Buffer<float> of_windows(windows.size() * dim());
    for (const std::vector<std::size_t>& batch : plan_batches(num_tokens, batch_tokens_, runner_ && runner_->pads())) {
        std::vector<std::span<const float>> clips;
        std::vector<const Prompt*> prompts;
        for (const std::size_t i : batch) {
            clips.push_back(windows[i].samples);
            prompts.push_back(&windows[i].prompt);
        }
        Buffer<float> of_batch(batch.size() * dim());
        run(clips, prompts, of_batch.data());
        for (std::size_t i = 0; i < batch.size(); ++i)
            std::copy_n(of_batch.data() + i * dim(), dim(), of_windows.data() + batch[i] * dim());
    }
    // Windows of a sound lie side by side; its vector is their mean.
    for (std::size_t i = 0; i < windows.size();) {
        float* vector = vectors + windows[i].row * dim();
        std::fill_n(vector, dim(), 0.0f);
        std::size_t count = 0;
        for (const std::size_t row = windows[i].row; i < windows.size() && windows[i].row == row; ++i, ++count)
            for (std::size_t j = 0; j < dim(); ++j) vector[j] += of_windows[i * dim() + j];
        if (count == 1) continue;
        for (std::size_t j = 0; j < dim(); ++j) vector[j] /= static_cast<float>(count);
        if (bundle_.recipe.normalize) normalize_rows(vector, 1, dim());
    }
}

void Model::encode_text(const std::vector<std::string_view>& texts, std::optional<std::string_view> instruction,
                        float* vectors) const {
    if (!text_template_) throw Error(HARKEN_INVALID_ARGUMENT, "recipe " + bundle_.recipe.name + " takes no text");
    const std::string_view given = instruction_of(*text_template_, instruction, bundle_.recipe.default_text_instruction);
    std::vector<Prompt> prompts;
    std::vector<std::size_t> num_tokens;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        try {
            prompts.push_back(text_template_->text(texts[i], given));
        } catch (const Error& error) {
            throw Error(error.code(), "texts[" + std::to_string(i) + "]: " + error.what());
        }
        num_tokens.push_back(prompts.back().ids.size());
    }
    for (const std::vector<std::size_t>& batch : plan_batches(num_tokens, batch_tokens_, runner_ && runner_->pads())) {
        std::vector<const Prompt*> of_batch;
        for (const std::size_t i : batch) of_batch.push_back(&prompts[i]);
        Buffer<float> made(batch.size() * dim());
        run({}, of_batch, made.data());
        for (std::size_t i = 0; i < batch.size(); ++i)
            std::copy_n(made.data() + i * dim(), dim(), vectors + batch[i] * dim());
    }
}

void Model::run(const std::vector<std::span<const float>>& clips, const std::vector<const Prompt*>& prompts,
                float* vectors) const {
    if (runner_) return runner_->run(clips, prompts, vectors, pool_);
    Buffer<float> rows;
    if (!clips.empty()) rows = tower_.encode(clips, pool_);
    if (!clips.empty() && projector_) {
        Buffer<float> projected(rows.size() / tower_.out_width() * projector_->num_out);
        linear(*projector_, rows.data(), rows.size() / tower_.out_width(), projected.data(), false, pool_);
        rows = std::move(projected);
    }
    const std::optional<PoolHead>& head = clips.empty() ? text_head_ : audio_head_;
    encode_prompts(prompts, rows.data(), head ? &*head : nullptr, vectors);
}

void Model::encode_prompts(const std::vector<const Prompt*>& prompts, const float* audio_rows, const PoolHead* head,
                           float* vectors) const {
    const PackedPrompts packed = pack_prompts(prompts, bundle_.recipe);
    const std::size_t width = decoder_.config().width;
    Buffer<float> x(packed.sources.size() * width);
    for (std::size_t i = 0; i < packed.sources.size(); ++i) {
        if (const std::int32_t source = packed.sources[i]; source >= 0)
            decoder_.embed(static_cast<std::size_t>(source), x.data() + i * width);
        else
            std::copy_n(audio_rows + static_cast<std::size_t>(-1 - source) * width, width, x.data() + i * width);
    }
    const Buffer<float> hidden =
        decoder_.run(std::move(x), packed.segments, bundle_.recipe.causal, packed.last_only, pool_);
    pool_vectors(hidden.data(), packed.ranges, decoder_.norm(), head, bundle_.recipe, vectors, pool_);
}

}  // namespace harken

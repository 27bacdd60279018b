/// \file
/// A model with a recipe: sounds and sentences in, vectors of one space out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bundle.h"
#include "decoder.h"
#include "pooling.h"
#include "runner.h"
#include "template.h"
#include "threads.h"
#include "tokenizer.h"
#include "tower.h"

namespace harken {

/// Thread safety: any number of calls at once; they share the threads.
class Model {
  public:
    /// A sound that gives its samples when its turn comes; throws Error where it cannot.
    struct Source {
        std::string name;
        std::function<std::vector<float>(const Recipe&, std::uint32_t rate_hz)> load;
    };
    /// Told of a source that cannot be embedded.
    using OnFailure = std::function<void(std::size_t item, harken_status status, const char* text)>;

    /// \param num_threads   0: one for each CPU the process may use
    /// \param batch_tokens  tokens computed at once; 0: 2048
    Model(const std::string& folder, std::size_t num_threads, std::size_t batch_tokens);

    [[nodiscard]] std::size_t dim() const noexcept { return bundle_.dim; }
    [[nodiscard]] std::uint32_t sample_rate_hz() const noexcept { return static_cast<std::uint32_t>(tower_.sample_rate_hz()); }
    [[nodiscard]] const std::string& fingerprint() const noexcept { return bundle_.fingerprint; }
    [[nodiscard]] const Tokenizer& tokenizer() const noexcept { return tokenizer_; }
    [[nodiscard]] const Bundle& bundle() const noexcept { return bundle_; }
    [[nodiscard]] int num_threads() const noexcept { return pool_.size(); }

    /// Let another runner compute the network from now on; nullptr: libharken's own code. Not while others use the model.
    void use(std::unique_ptr<const Runner> runner) noexcept { runner_ = std::move(runner); }
    /// What computes the network.
    [[nodiscard]] const char* runner_name() const noexcept { return runner_ ? runner_->name() : "harken"; }

    /// \param vectors     [sources.size(), dim]
    /// \param on_failure  empty: the first failure is thrown. Otherwise rows of failures hold NaN
    void encode_audio(const std::vector<Source>& sources, std::optional<std::string_view> instruction, float* vectors,
                      const OnFailure& on_failure) const;
    /// The same of sounds with a text each, none of them empty.
    void encode_audio_text(const std::vector<Source>& sources, const std::vector<std::string_view>& texts,
                           std::optional<std::string_view> instruction, float* vectors, const OnFailure& on_failure) const;
    void encode_text(const std::vector<std::string_view>& texts, std::optional<std::string_view> instruction,
                     float* vectors) const;

  private:
    struct Window;
    struct Loaded;

    [[nodiscard]] std::string_view instruction_of(const Template& prompt, std::optional<std::string_view> given,
                                                  const std::string& own) const;
    /// \param texts  empty: the prompt holds sounds alone
    void encode_sources(const std::vector<Source>& sources, const std::vector<std::string_view>& texts, const Template& prompt,
                        std::optional<std::string_view> instruction, float* vectors, const OnFailure& on_failure) const;
    [[nodiscard]] Loaded load(const Source& source, std::size_t row) const;
    void encode_windows(const std::vector<Loaded>& loaded, const std::vector<std::string_view>& texts, const Template& prompt,
                        std::string_view instruction, float* vectors) const;
    void run(const std::vector<std::span<const float>>& clips, const std::vector<const Prompt*>& prompts,
             float* vectors) const;
    void encode_prompts(const std::vector<const Prompt*>& prompts, const float* audio_rows, const PoolHead* head,
                        float* vectors) const;

    Bundle bundle_;
    mutable ThreadPool pool_;
    std::size_t batch_tokens_;
    Tokenizer tokenizer_;
    Tower tower_;
    std::optional<PackedMatrix> projector_;
    Decoder decoder_;
    std::optional<PoolHead> audio_head_, text_head_;
    std::optional<Template> audio_template_, text_template_, audio_text_template_;
    std::unique_ptr<const Runner> runner_;
};

}  // namespace harken

/// \file
/// C++20 over harken.h: objects that free themselves, spans, exceptions. Header-only, so no C++ type crosses the library.
///
///     harken::Model model("model.bundle");
///     std::vector<float> query = model.encode_text("a dog barks");
///     std::vector<harken::Hit> hits = harken::Index("sounds.harken").search(query, 10);
///
/// Everything may be used by many threads at once, except while it is being moved or destroyed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harken/harken.h"

namespace harken {
inline namespace v1 {

/// What the library refuses; the text says who, got and wanted.
class Error : public std::runtime_error {
  public:
    Error(harken_status status, const std::string& text) : std::runtime_error(text), status_(status) {}
    [[nodiscard]] harken_status status() const noexcept { return status_; }

  private:
    harken_status status_;
};

/// Throw this thread's last failure.
inline void check(harken_status status) {
    if (status != HARKEN_OK) throw Error(status, harken_last_error());
}

struct Options {
    std::uint32_t num_threads = 0;   ///< threads a call may use, the caller's own among them; 0: one for each usable CPU
    std::uint32_t batch_tokens = 0;  ///< tokens computed at once; 0: 2048
    std::string onnx_folder = {};          ///< graphs that ONNX Runtime runs; empty: libharken's own code
    std::string onnxruntime_library = {};  ///< path; empty: where harken.h says
};

/// A sound in memory: mono, full scale is 1.
struct Clip {
    std::span<const float> samples;
    std::uint32_t sample_rate_hz;
};

/// An input that could not be embedded; its row of vectors holds NaN.
struct Failure {
    std::size_t item;
    harken_status status;
    std::string text;
};

/// Vectors of several inputs.
struct Vectors {
    std::vector<float> values;  ///< [size, dim]
    std::size_t dim = 0;

    [[nodiscard]] std::size_t size() const noexcept { return dim == 0 ? 0 : values.size() / dim; }
    [[nodiscard]] std::span<const float> operator[](std::size_t i) const noexcept {
        return std::span(values).subspan(i * dim, dim);
    }
};

/// A sound file (WAV, FLAC) in memory.
class Sound {
  public:
    explicit Sound(const std::string& path) {
        harken_sound* sound = nullptr;
        check(harken_sound_read(path.c_str(), &sound));
        sound_.reset(sound);
    }
    Sound(std::span<const std::byte> bytes, const std::string& name) {
        harken_sound* sound = nullptr;
        check(harken_sound_decode(bytes.data(), bytes.size(), name.c_str(), &sound));
        sound_.reset(sound);
    }

    /// Valid as long as this object.
    [[nodiscard]] Clip clip() const noexcept {
        const harken_clip clip = harken_sound_clip(sound_.get());
        return {{clip.samples, clip.num_samples}, clip.sample_rate_hz};
    }

  private:
    struct Free {
        void operator()(harken_sound* sound) const noexcept { harken_sound_free(sound); }
    };
    std::unique_ptr<harken_sound, Free> sound_;
};

/// A bundle: sounds and sentences in, vectors of one space out.
class Model {
  public:
    /// \param folder  as `harken export --to bundle` writes it
    explicit Model(const std::string& folder, const Options& options = {}) {
        const auto optional = [](const std::string& text) { return text.empty() ? nullptr : text.c_str(); };
        const harken_model_options given{sizeof(harken_model_options), options.num_threads, options.batch_tokens,
                                         optional(options.onnx_folder), optional(options.onnxruntime_library)};
        harken_model* model = nullptr;
        check(harken_model_load(folder.c_str(), &given, &model));
        model_.reset(model);
    }

    /// Length of a vector.
    [[nodiscard]] std::size_t dim() const noexcept { return harken_model_dim(model_.get()); }
    [[nodiscard]] std::uint32_t sample_rate_hz() const noexcept { return harken_model_sample_rate_hz(model_.get()); }
    /// 12 hex digits of all that decides what a vector is.
    [[nodiscard]] std::string fingerprint() const { return harken_model_fingerprint(model_.get()); }
    /// What computes the network: "harken", or another runner's name and version.
    [[nodiscard]] std::string runner() const { return harken_model_runner(model_.get()); }
    /// Encode on a CUDA device from now on.
    void to_cuda(int device = 0) { check(harken_model_to_cuda(model_.get(), device)); }

    /// \param instruction  for recipes whose prompt takes one; nullptr: the recipe's own
    [[nodiscard]] std::vector<float> encode_audio(const Clip& clip, const char* instruction = nullptr) const {
        return encode_audio(std::span(&clip, 1), instruction).values;
    }
    [[nodiscard]] Vectors encode_audio(std::span<const Clip> clips, const char* instruction = nullptr) const {
        const std::vector<harken_clip> given = plain(clips);
        Vectors vectors = room_for(clips.size());
        check(harken_model_encode_audio(model_.get(), given.data(), given.size(), instruction, vectors.values.data(), nullptr,
                                        nullptr));
        return vectors;
    }

    /// Vectors of sounds with a text each, for recipes that take both.
    [[nodiscard]] Vectors encode_audio_text(std::span<const Clip> clips, std::span<const std::string_view> texts,
                                            const char* instruction = nullptr) const {
        if (clips.size() != texts.size())
            throw Error(HARKEN_INVALID_ARGUMENT, "Model: " + std::to_string(clips.size()) + " sounds with " +
                                                     std::to_string(texts.size()) + " texts; wanted one each");
        const std::vector<harken_clip> given = plain(clips);
        const PlainTexts plain_texts(texts);
        Vectors vectors = room_for(clips.size());
        check(harken_model_encode_audio_text(model_.get(), given.data(), plain_texts.texts.data(), plain_texts.lengths.data(),
                                             given.size(), instruction, vectors.values.data(), nullptr, nullptr));
        return vectors;
    }

    /// Vectors of sound files (WAV, FLAC).
    /// \param failures  nullptr: the first file that cannot be embedded is thrown; otherwise they are listed here
    [[nodiscard]] Vectors encode_files(std::span<const std::string> paths, std::vector<Failure>* failures = nullptr,
                                       const char* instruction = nullptr) const {
        std::vector<const char*> given;
        for (const std::string& path : paths) given.push_back(path.c_str());
        Vectors vectors = room_for(paths.size());
        Listed listed{failures, nullptr};
        check(harken_model_encode_files(model_.get(), given.data(), given.size(), instruction, vectors.values.data(),
                                        failures == nullptr ? nullptr : &Listed::add, &listed));
        if (listed.thrown) std::rethrow_exception(listed.thrown);
        return vectors;
    }

    [[nodiscard]] std::vector<float> encode_text(std::string_view text, const char* instruction = nullptr) const {
        return encode_text(std::span(&text, 1), instruction).values;
    }
    [[nodiscard]] Vectors encode_text(std::span<const std::string_view> texts, const char* instruction = nullptr) const {
        const PlainTexts given(texts);
        Vectors vectors = room_for(texts.size());
        check(harken_model_encode_text(model_.get(), given.texts.data(), given.lengths.data(), texts.size(), instruction,
                                       vectors.values.data()));
        return vectors;
    }

    /// Token ids of a text, without special tokens added.
    [[nodiscard]] std::vector<std::int32_t> tokenize(std::string_view text) const {
        std::vector<std::int32_t> ids(text.size() + 8);
        std::size_t num_ids = 0;
        harken_status status = harken_model_tokenize(model_.get(), text.data(), text.size(), ids.data(), ids.size(), &num_ids);
        if (status != HARKEN_OK && num_ids > ids.size()) {
            ids.resize(num_ids);
            status = harken_model_tokenize(model_.get(), text.data(), text.size(), ids.data(), ids.size(), &num_ids);
        }
        check(status);
        ids.resize(num_ids);
        return ids;
    }

  private:
    friend class Index;

    /// Collects failures; what collecting throws must not pass through the library.
    struct Listed {
        std::vector<Failure>* failures;
        std::exception_ptr thrown;

        static void add(void* user, std::size_t item, harken_status status, const char* text) {
            auto* listed = static_cast<Listed*>(user);
            try {
                listed->failures->push_back({item, status, text});
            } catch (...) {
                listed->thrown = std::current_exception();
            }
        }
    };

    struct PlainTexts {
        std::vector<const char*> texts;
        std::vector<std::size_t> lengths;

        explicit PlainTexts(std::span<const std::string_view> given) {
            for (const std::string_view text : given) {
                texts.push_back(text.data() == nullptr ? "" : text.data());
                lengths.push_back(text.size());
            }
        }
    };

    [[nodiscard]] static std::vector<harken_clip> plain(std::span<const Clip> clips) {
        std::vector<harken_clip> given;
        for (const Clip& clip : clips) given.push_back({clip.samples.data(), clip.samples.size(), clip.sample_rate_hz});
        return given;
    }
    [[nodiscard]] Vectors room_for(std::size_t n) const { return {std::vector<float>(n * dim()), dim()}; }

    struct Free {
        void operator()(harken_model* model) const noexcept { harken_model_free(model); }
    };
    std::unique_ptr<harken_model, Free> model_;
};

/// A row of an index and its score.
struct Hit {
    std::int64_t row;
    float score;  ///< inner product with the query
};

/// Vectors to be searched exactly.
class Index {
  public:
    /// \param folder  as harken's Python engine writes it; its vectors are mapped
    explicit Index(const std::string& folder, std::uint32_t num_threads = 0) {
        harken_index* index = nullptr;
        check(harken_index_open(folder.c_str(), num_threads, &index));
        index_.reset(index);
    }
    /// \param rows  [n, dim], copied
    Index(std::span<const float> rows, std::size_t dim, std::uint32_t num_threads = 0) {
        if (dim == 0 || rows.size() % dim != 0)
            throw Error(HARKEN_INVALID_ARGUMENT,
                        "Index: " + std::to_string(rows.size()) + " floats are no rows of " + std::to_string(dim));
        harken_index* index = nullptr;
        check(harken_index_from_rows(rows.data(), rows.size() / dim, dim, num_threads, &index));
        index_.reset(index);
    }

    [[nodiscard]] std::size_t size() const noexcept { return harken_index_num_rows(index_.get()); }
    [[nodiscard]] std::size_t dim() const noexcept { return harken_index_dim(index_.get()); }
    /// Of the model that made the vectors; "" if it is not known.
    [[nodiscard]] std::string fingerprint() const { return harken_index_fingerprint(index_.get()); }
    /// Copy the vectors to a CUDA device, on which searches run from then on. Not while others search.
    void to_cuda(int device = 0) { check(harken_index_to_cuda(index_.get(), device)); }
    /// Throw where another model made the vectors; an index of unknown making passes.
    void check_model(const Model& model) const { check(harken_index_check_model(index_.get(), model.model_.get())); }
    /// The name of a row; "" for rows without names.
    [[nodiscard]] std::string name(std::size_t row) const {
        std::size_t num_bytes = 0;
        const char* name = harken_index_row_name(index_.get(), row, &num_bytes);
        if (name == nullptr)
            throw Error(HARKEN_INVALID_ARGUMENT, "Index: row " + std::to_string(row) + " of " + std::to_string(size()));
        return {name, num_bytes};
    }

    /// The k best rows, best first, equal scores by lower row; fewer where the index holds fewer.
    /// \param query   [dim]
    /// \param filter  one bit a row, lowest bit first: rows whose bit is 0 are left out; empty: none is
    [[nodiscard]] std::vector<Hit> search(std::span<const float> query, std::size_t k,
                                          std::span<const std::uint64_t> filter = {}) const {
        return search_batch(query, k, filter).front();
    }

    /// The same for queries [n, dim], which read the index once.
    [[nodiscard]] std::vector<std::vector<Hit>> search_batch(std::span<const float> queries, std::size_t k,
                                                             std::span<const std::uint64_t> filter = {}) const {
        if (queries.empty() || queries.size() % dim() != 0)
            throw Error(HARKEN_INVALID_ARGUMENT, "Index: a query of " + std::to_string(queries.size()) +
                                                     " floats; wanted " + std::to_string(dim()));
        if (!filter.empty() && filter.size() < (size() + 63) / 64)
            throw Error(HARKEN_INVALID_ARGUMENT, "Index: a filter of " + std::to_string(filter.size()) + " words for " +
                                                     std::to_string(size()) + " rows");
        const std::size_t num_queries = queries.size() / dim();
        std::vector<float> scores(num_queries * k);
        std::vector<std::int64_t> rows(num_queries * k);
        check(harken_index_search(index_.get(), queries.data(), num_queries, k, filter.empty() ? nullptr : filter.data(),
                                  scores.data(), rows.data()));
        std::vector<std::vector<Hit>> hits(num_queries);
        for (std::size_t i = 0; i < rows.size(); ++i)
            if (rows[i] >= 0) hits[i / k].push_back({rows[i], scores[i]});
        return hits;
    }

  private:
    struct Free {
        void operator()(harken_index* index) const noexcept { harken_index_free(index); }
    };
    std::unique_ptr<harken_index, Free> index_;
};

}  // namespace v1
}  // namespace harken

#include "onnx_inputs.h"

#include <algorithm>

namespace harken {
namespace {

// Shorter than these the graphs cannot be: exporters take lengths of 1 for constants.
constexpr std::size_t kMinFrames = 4, kMinRows = 2;

std::size_t num_positions(std::size_t num_frames) { return (num_frames + 1) / 2; }

std::int64_t signed_size(std::size_t n) { return static_cast<std::int64_t>(n); }

/// Frames of one segment: those of a clip from `first` on.
struct Cut {
    std::size_t clip, first, rows, kept;
};

}  // namespace

TowerInputs tower_inputs(const std::vector<std::span<const float>>& clips, const TowerConfig& config,
                         const LogMel& logmel, ThreadPool& pool) {
    const std::size_t extra = config.window == 0 ? 2 : 0, mels = static_cast<std::size_t>(logmel.spec().num_mels);
    std::vector<Cut> cuts;
    std::vector<std::size_t> first_cut, first_frame{0};
    std::size_t longest = kMinFrames;
    for (std::size_t clip = 0; clip < clips.size(); ++clip) {
        const std::size_t frames = logmel.num_frames(clips[clip].size(), config.max_samples);
        const std::size_t rows = logmel.num_rows(clips[clip].size(), extra, config.max_samples);
        first_cut.push_back(cuts.size());
        const std::size_t window = config.window == 0 ? frames : config.window;
        for (std::size_t start = 0; start < frames; start += window) {
            const std::size_t valid = std::min(window, frames - start);
            cuts.push_back({clip, start, config.window == 0 ? rows : valid, num_positions(valid)});
            longest = std::max(longest, cuts.back().rows);
        }
        first_frame.push_back(first_frame.back() + rows);
    }
    first_cut.push_back(cuts.size());
    // The graph counts frames in pairs.
    longest += longest % 2;

    TowerInputs inputs{signed_size(cuts.size()),
                       signed_size(mels),
                       signed_size(longest),
                       Buffer<float>(cuts.size() * mels * longest),
                       {},
                       {},
                       {}};
    for (const Cut& cut : cuts) {
        inputs.num_rows.push_back(signed_size(cut.rows));
        inputs.num_keys.push_back(signed_size(cut.kept));
    }
    const std::size_t width = num_positions(longest);
    for (std::size_t clip = 0; clip < clips.size(); ++clip) {
        const std::size_t first = inputs.tokens.size();
        for (std::size_t i = first_cut[clip]; i < first_cut[clip + 1]; ++i)
            for (std::size_t j = 0; j < cuts[i].kept; ++j) inputs.tokens.push_back(signed_size(i * width + j));
        // An odd last position makes no token.
        inputs.tokens.resize(first + (inputs.tokens.size() - first) / 2 * 2);
    }

    Buffer<float> features(first_frame.back() * mels);
    pool.parallel_for(clips.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
            logmel.compute(clips[i], features.data() + first_frame[i] * mels, extra, config.max_samples);
    });
    std::fill_n(inputs.mel.data(), inputs.mel.size(), 0.0f);
    pool.parallel_for(cuts.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            const float* rows = features.data() + (first_frame[cuts[i].clip] + cuts[i].first) * mels;
            for (std::size_t j = 0; j < cuts[i].rows; ++j)
                for (std::size_t m = 0; m < mels; ++m) inputs.mel[(i * mels + m) * longest + j] = rows[j * mels + m];
        }
    });
    return inputs;
}

PromptInputs prompt_inputs(const std::vector<const Prompt*>& prompts) {
    std::size_t longest = kMinRows;
    for (const Prompt* prompt : prompts) longest = std::max(longest, prompt->ids.size());
    PromptInputs inputs{signed_size(prompts.size()),
                        signed_size(longest),
                        std::vector<std::int64_t>(prompts.size() * longest),
                        std::vector<std::int64_t>(prompts.size() * longest, -1),
                        {},
                        {}};
    std::int64_t used = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const Prompt& prompt = *prompts[i];
        std::copy(prompt.ids.begin(), prompt.ids.end(), inputs.token_ids.begin() + signed_size(i * longest));
        for (std::size_t j = 0; j < prompt.num_audio; ++j)
            inputs.audio_index[i * longest + prompt.first_audio + j] = used++;
        inputs.lengths.push_back(signed_size(prompt.ids.size()));
        inputs.contents.insert(inputs.contents.end(),
                               {signed_size(prompt.first_content), signed_size(prompt.end_content)});
    }
    return inputs;
}

}  // namespace harken

/// \file
/// What the exported graphs are fed with: padded batches and the counts that go with them.
/// The same rules as engine/export/graph_inputs.py.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "buffer.h"
#include "bundle.h"
#include "logmel.h"
#include "template.h"
#include "threads.h"

namespace harken {

/// Inputs of audio_tower. A segment is a clip, or a window of one.
struct TowerInputs {
    std::int64_t num_segments = 0, num_mels = 0, num_frames = 0;
    Buffer<float> mel;  ///< [num_segments, num_mels, num_frames], zeros past a segment's rows
    std::vector<std::int64_t> num_rows, num_keys;  ///< of each segment: frames that are there, positions that are seen
    std::vector<std::int64_t> tokens;              ///< [audio tokens, 2] the positions that each is the mean of
};

/// \param clips  each long enough for a token
[[nodiscard]] TowerInputs tower_inputs(const std::vector<std::span<const float>>& clips, const TowerConfig& config,
                                       const LogMel& logmel, ThreadPool& pool);

/// Inputs of embedder.
struct PromptInputs {
    std::int64_t num_prompts = 0, num_rows = 0;
    std::vector<std::int64_t> token_ids, audio_index;  ///< [num_prompts, num_rows]; -1 where a token stands
    std::vector<std::int64_t> lengths;                 ///< [num_prompts]
    std::vector<std::int64_t> contents;  ///< [num_prompts, 2] first row of the content, and the row past its last
};

[[nodiscard]] PromptInputs prompt_inputs(const std::vector<const Prompt*>& prompts);

}  // namespace harken

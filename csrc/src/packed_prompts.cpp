#include "packed_prompts.h"

namespace harken {

PackedPrompts pack_prompts(const std::vector<const Prompt*>& prompts, const Recipe& recipe) {
    std::vector<std::size_t> lengths;
    for (const Prompt* prompt : prompts) lengths.push_back(prompt->ids.size());
    PackedPrompts packed{Segments(lengths), {}, recipe.pooling == Pooling::last, {}};
    std::int32_t num_audio = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const Prompt& prompt = *prompts[i];
        for (std::size_t j = 0; j < prompt.ids.size(); ++j) {
            const bool heard = j >= prompt.first_audio && j < prompt.first_audio + prompt.num_audio;
            packed.sources.push_back(heard ? -1 - num_audio++ : prompt.ids[j]);
        }
        const std::size_t start = packed.segments.start(i);
        if (packed.last_only)
            packed.ranges.push_back({i, i + 1});
        else if (recipe.pooling == Pooling::mean_content)
            packed.ranges.push_back({start + prompt.first_content, start + prompt.end_content});
        else
            packed.ranges.push_back({start, packed.segments.end(i)});
    }
    return packed;
}

}  // namespace harken

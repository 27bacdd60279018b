/// \file
/// Prompts laid end to end: where the decoder's rows come from, and which of its states become vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "packed.h"
#include "pooling.h"
#include "recipe.h"
#include "template.h"

namespace harken {

struct PackedPrompts {
    Segments segments;
    std::vector<std::int32_t> sources;  ///< of each row: a token's id, or -1 - i where it is row i of the sound
    bool last_only;                     ///< each sequence's last row alone is wanted, and ranges are of those
    std::vector<RowRange> ranges;       ///< the states that each vector is the mean of
};

[[nodiscard]] PackedPrompts pack_prompts(const std::vector<const Prompt*>& prompts, const Recipe& recipe);

}  // namespace harken

/// \file
/// Batches by tokens: as many items as fit a budget, neighbours in length together.
#pragma once

#include <cstddef>
#include <vector>

namespace harken {

/// \param num_tokens  of each item
/// \param padded      every item of a batch costs as much as its longest, of which it has at least half
/// \returns for each batch the positions of its items, longest items first; an item over the budget has one of its own
[[nodiscard]] std::vector<std::vector<std::size_t>> plan_batches(const std::vector<std::size_t>& num_tokens,
                                                                 std::size_t max_tokens, bool padded = false);

}  // namespace harken

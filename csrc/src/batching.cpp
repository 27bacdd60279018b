#include "batching.h"

#include <algorithm>
#include <numeric>

namespace harken {

std::vector<std::vector<std::size_t>> plan_batches(const std::vector<std::size_t>& num_tokens, std::size_t max_tokens,
                                                   bool padded) {
    std::vector<std::size_t> order(num_tokens.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return num_tokens[a] > num_tokens[b]; });
    std::vector<std::vector<std::size_t>> batches;
    std::size_t room = 0, longest = 0;
    for (const std::size_t item : order) {
        const bool too_short = padded && 2 * num_tokens[item] < longest;
        if (batches.empty() || too_short || (padded ? longest : num_tokens[item]) > room) {
            batches.emplace_back();
            longest = num_tokens[item];
            room = std::max(max_tokens, longest);
        }
        batches.back().push_back(item);
        room -= padded ? longest : num_tokens[item];
    }
    return batches;
}

}  // namespace harken

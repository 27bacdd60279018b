#include "batching.h"

#include <algorithm>
#include <numeric>

namespace harken {

std::vector<std::vector<std::size_t>> plan_batches(const std::vector<std::size_t>& num_tokens, std::size_t max_tokens) {
    std::vector<std::size_t> order(num_tokens.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return num_tokens[a] > num_tokens[b]; });
    std::vector<std::vector<std::size_t>> batches;
    std::size_t room = 0;
    for (const std::size_t item : order) {
        if (batches.empty() || num_tokens[item] > room) {
            batches.emplace_back();
            room = std::max(max_tokens, num_tokens[item]);
        }
        batches.back().push_back(item);
        room -= num_tokens[item];
    }
    return batches;
}

}  // namespace harken

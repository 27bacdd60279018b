// What the threads of the CUDA top-K do between barriers, run by a loop over threads: the same hits as a plain sort.
#include <algorithm>
#include <functional>

#include "check.h"
#include "cuda/topk_steps.h"
#include "random.h"

using namespace harken::cuda;

namespace {

/// sort_kernel, block by block.
std::vector<std::uint64_t> kept(const std::vector<std::uint64_t>& hits, std::size_t keep) {
    std::vector<std::uint64_t> out;
    for (std::size_t first = 0; first < hits.size(); first += kSortedHits) {
        std::vector<std::uint64_t> sorted(kSortedHits);
        std::copy_n(hits.begin() + static_cast<std::ptrdiff_t>(first), std::min<std::size_t>(kSortedHits, hits.size() - first), sorted.begin());
        for (int size = 2; size <= kSortedHits; size *= 2)
            for (int stride = size / 2; stride > 0; stride /= 2)
                for (int thread = 0; thread < kSortThreads; ++thread)
                    sort_step(sorted.data(), kSortedHits, size, stride, thread, kSortThreads);
        out.insert(out.end(), sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(keep));
    }
    return out;
}

void best_hits(std::size_t num_rows, std::size_t k) {
    Random random;
    std::vector<std::uint64_t> hits;
    for (std::size_t row = 0; row < num_rows; ++row)
        // Coarse scores, so that many are equal; every seventh row is filtered out.
        hits.push_back(row % 7 == 3 ? 0 : hit_of(std::round(random.number() * 50) / 50, static_cast<std::uint32_t>(row)));
    std::vector<std::uint64_t> want = hits;
    std::sort(want.begin(), want.end(), std::greater<>());
    want.resize(k);
    while (hits.size() > k || hits.size() < k) {
        hits = kept(hits, k);
        if (hits.size() == k) break;
    }
    CHECK(hits == want);
}

}  // namespace

int main() {
    const float rising[] = {-INFINITY, -3e38f, -1.0f, -1e-40f, 0.0f, 1e-40f, 0.5f, 3e38f, INFINITY};
    for (std::size_t i = 0; i < std::size(rising); ++i) {
        CHECK(score_of(hit_of(rising[i], 7)) == rising[i] && row_of(hit_of(rising[i], 7)) == 7);
        CHECK(hit_of(rising[i], 0xfffffffe) > 0);
        if (i > 0) CHECK(hit_of(rising[i], 0xfffffffe) > hit_of(rising[i - 1], 0));
    }
    CHECK(hit_of(1.0f, 3) > hit_of(1.0f, 4));
    CHECK(hit_of(-0.0f, 3) == hit_of(0.0f, 3));

    best_hits(10, 20);
    best_hits(4096, 10);
    best_hits(4097, 1);
    best_hits(50000, 1024);

    const std::uint64_t filter[2] = {1ull << 63, 1};
    CHECK(passes(filter, 63) && passes(filter, 64) && !passes(filter, 62) && !passes(filter, 65) && passes(nullptr, 5));

    Random random;
    const std::size_t width = 70;
    const std::vector<float> row = random.numbers(width), queries = random.numbers(3 * width);
    float sums[kTileQueries] = {};
    for (int lane = 0; lane < 32; ++lane) add_products(row.data(), queries.data(), 3, width, lane, [](float x) { return x; }, sums);
    for (int q = 0; q < kTileQueries; ++q) {
        double want = 0;
        for (std::size_t i = 0; i < width && q < 3; ++i) want += double{row[i]} * queries[static_cast<std::size_t>(q) * width + i];
        CHECK_NEAR(sums[q], want, 1e-5);
    }
}

// ThreadPool: every piece once, in turns, exceptions handed on, calls from many threads and from inside a body.
#include "threads.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "error.h"

using harken::ThreadPool;

namespace {

void every_piece_once(ThreadPool& pool, std::size_t n, std::size_t grain) {
    std::vector<std::atomic<int>> seen(n);
    pool.parallel_for(n, grain, [&](std::size_t begin, std::size_t end) {
        CHECK(begin < end && end <= n && end - begin <= (grain ? grain : 1));
        for (std::size_t i = begin; i < end; ++i) ++seen[i];
    });
    for (const auto& count : seen) CHECK(count == 1);
}

}  // namespace

int main() {
    CHECK_THROWS(harken::Error, ThreadPool(0));
    CHECK_THROWS(harken::Error, ThreadPool(1025));
    for (const int size : {1, 2, 5}) {
        ThreadPool pool(size);
        CHECK(pool.size() == size);
        for (const std::size_t n : {0, 1, 7, 64, 1000})
            for (const std::size_t grain : {0, 1, 3, 64, 5000}) every_piece_once(pool, n, grain);

        // An exception ends the loop, is thrown here, and leaves the pool as it was.
        bool thrown = false;
        try {
            pool.parallel_for(100, 1, [](std::size_t begin, std::size_t) {
                if (begin == 40) throw std::runtime_error("forty");
            });
        } catch (const std::runtime_error& error) {
            thrown = std::string(error.what()) == "forty";
        }
        CHECK(thrown);
        every_piece_once(pool, 50, 1);

        std::atomic<int> inner{0};
        pool.parallel_for(10, 1, [&](std::size_t, std::size_t) {
            pool.parallel_for(10, 2,
                              [&](std::size_t begin, std::size_t end) { inner += static_cast<int>(end - begin); });
        });
        CHECK(inner == 100);

        std::atomic<long> sum{0};
        std::vector<std::thread> callers;
        for (int t = 0; t < 4; ++t)
            callers.emplace_back([&] {
                for (int round = 0; round < 50; ++round)
                    pool.parallel_for(100, 7, [&](std::size_t begin, std::size_t end) {
                        for (std::size_t i = begin; i < end; ++i) sum += static_cast<long>(i);
                    });
            });
        for (std::thread& caller : callers) caller.join();
        CHECK(sum == 4L * 50 * 4950);
    }
}

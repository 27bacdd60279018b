#include "threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "error.h"

namespace harken {
namespace {

thread_local bool inside_body = false;

struct Inside {
    Inside() { inside_body = true; }
    ~Inside() { inside_body = false; }
};

}  // namespace

struct ThreadPool::State {
    std::mutex turn;  // held by the caller whose loop runs

    std::mutex mutex;
    std::condition_variable wake, done;
    std::vector<std::thread> threads;
    std::uint64_t num_loops = 0;
    int num_running = 0;
    bool stopping = false;
    std::exception_ptr failure;

    Piece piece = nullptr;
    void* context = nullptr;
    std::size_t n = 0, grain = 1, num_pieces = 0;
    std::atomic<std::size_t> next{0};

    void take_pieces() noexcept {
        const Inside inside;
        try {
            for (;;) {
                const std::size_t i = next.fetch_add(1, std::memory_order_relaxed);
                if (i >= num_pieces) return;
                piece(context, i * grain, std::min(n, (i + 1) * grain));
            }
        } catch (...) {
            next.store(num_pieces, std::memory_order_relaxed);
            const std::lock_guard lock(mutex);
            if (!failure) failure = std::current_exception();
        }
    }

    void serve() {
        std::uint64_t seen = 0;
        for (;;) {
            std::unique_lock lock(mutex);
            wake.wait(lock, [&] { return stopping || num_loops != seen; });
            if (stopping) return;
            seen = num_loops;
            lock.unlock();
            take_pieces();
            lock.lock();
            if (--num_running == 0) done.notify_one();
        }
    }

    void stop() {
        {
            const std::lock_guard lock(mutex);
            stopping = true;
        }
        wake.notify_all();
        for (std::thread& thread : threads) thread.join();
    }
};

ThreadPool::ThreadPool(int num_threads) : num_threads_(num_threads), state_(std::make_unique<State>()) {
    if (num_threads < 1 || num_threads > 1024)
        throw Error(HARKEN_INVALID_ARGUMENT,
                    "ThreadPool: num_threads must be 1..1024, got " + std::to_string(num_threads));
    try {
        for (int i = 1; i < num_threads; ++i) state_->threads.emplace_back([state = state_.get()] { state->serve(); });
    } catch (...) {
        state_->stop();
        throw;
    }
}

ThreadPool::~ThreadPool() { state_->stop(); }

void ThreadPool::run(std::size_t n, std::size_t grain, Piece piece, void* context) {
    if (n == 0) return;
    grain = std::min(std::max<std::size_t>(grain, 1), n);
    const std::size_t num_pieces = (n - 1) / grain + 1;
    if (num_pieces == 1 || num_threads_ == 1 || inside_body) {
        for (std::size_t i = 0; i < num_pieces; ++i)
            piece(context, i * grain, i + 1 == num_pieces ? n : (i + 1) * grain);
        return;
    }
    State& state = *state_;
    const std::lock_guard turn(state.turn);
    {
        const std::lock_guard lock(state.mutex);
        state.piece = piece;
        state.context = context;
        state.n = n;
        state.grain = grain;
        state.num_pieces = num_pieces;
        state.next.store(0, std::memory_order_relaxed);
        state.failure = nullptr;
        state.num_running = num_threads_ - 1;
        ++state.num_loops;
    }
    state.wake.notify_all();
    state.take_pieces();
    std::unique_lock lock(state.mutex);
    state.done.wait(lock, [&] { return state.num_running == 0; });
    if (state.failure) std::rethrow_exception(state.failure);
}

}  // namespace harken

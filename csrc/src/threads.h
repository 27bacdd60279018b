/// \file
/// Threads that share one loop at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace harken {

/// A fixed number of threads, the caller's own among them.
///
/// Thread safety: parallel_for may be called by many threads at once; they take turns. A call from inside a body runs on
/// the calling thread alone.
class ThreadPool {
  public:
    /// \param num_threads  1 or more; 1 starts no thread
    /// \throws Error  less than 1 or more than 1024
    explicit ThreadPool(int num_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    [[nodiscard]] int size() const noexcept { return num_threads_; }

    /// Call body(begin, end) over pieces of [0, n) of at most `grain` each (0 counts as 1), in any order, and return when
    /// all are done. A thread takes pieces in rising order. The first exception of a body is thrown here; pieces not yet
    /// begun are then left out.
    template <typename Body>
    void parallel_for(std::size_t n, std::size_t grain, Body&& body) {
        using Plain = std::remove_reference_t<Body>;
        run(
            n, grain,
            [](void* context, std::size_t begin, std::size_t end) { (*static_cast<Plain*>(context))(begin, end); },
            const_cast<void*>(static_cast<const void*>(std::addressof(body))));
    }

  private:
    using Piece = void (*)(void* context, std::size_t begin, std::size_t end);
    void run(std::size_t n, std::size_t grain, Piece piece, void* context);

    struct State;
    int num_threads_;
    std::unique_ptr<State> state_;
};

}  // namespace harken

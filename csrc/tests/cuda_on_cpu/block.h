/// \file
/// A grid of thread blocks on one CPU thread: the threads of a block are fibers that switch at barriers, in the same order
/// every time.
///
/// What a GPU leaves undefined is a fault here: a barrier that some threads of the block never reach, a warp whose lanes wait
/// at different places, a lane read that takes no part or does not exist. A fault ends the grid.
#pragma once

#include <cstdint>
#include <string>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// As in CUDA, of the thread that runs.
extern constinit thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

/// Run `body(context)` as every thread of every block.
void run_grid(dim3 grid, dim3 block, void (*body)(void*), void* context);

/// __syncthreads
void barrier();
/// Wait for the lanes of `mask`, all of which come here, and take what `lane` brought.
std::uint64_t exchange(unsigned mask, std::uint64_t bits, int lane);
/// 0 to 31, of the thread that runs.
int own_lane();

/// What the calling CPU thread's last faulty grid did; "" if there was none. It is forgotten.
std::string take_fault();
/// As take_fault, and it stays.
[[nodiscard]] const std::string& fault();

}  // namespace cuda_on_cpu

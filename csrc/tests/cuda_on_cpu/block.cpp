#undef _FORTIFY_SOURCE  // its longjmp takes a change of stacks for a mistake
#include "block.h"

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)  // clang's name for it
#define WITH_ASAN
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

constinit thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {
namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr unsigned kMaxThreads = 1024, kLanes = 32;

/// Those that wait for one another: a block, or a warp.
struct Meeting {
    unsigned turn = 0;     // grows when all have come
    unsigned num_here = 0;
    unsigned here = 0;     // lanes, of a warp
    unsigned mask = 0;     // lanes that are waited for
};

struct Warp {
    Meeting meeting;
    std::array<std::array<std::uint64_t, kLanes>, 2> brought;  // by the parity of the turn
};

struct Fiber {
    std::unique_ptr<std::byte[]> stack{new std::byte[kStackBytes]};
    ucontext_t start{};
    jmp_buf at;
    bool entered = false;  // its loop waits for the next thread to be, or runs one
    bool done = false;
    const Meeting* waits_at = nullptr;
    unsigned waits_for = 0;  // the turn that has to pass
    void* fake_stack = nullptr;
};

struct Scheduler {
    std::deque<Fiber> fibers;  // they stay where they are
    std::vector<Warp> warps;
    Meeting block;
    Fiber* running = nullptr;
    unsigned index = 0;  // of the running one
    jmp_buf home;
    ucontext_t home_context{};
    void* home_fake_stack = nullptr;
    const void* home_stack = nullptr;
    std::size_t home_stack_bytes = 0;
    void (*body)(void*) = nullptr;
    void* context = nullptr;
    std::string fault;
};

thread_local Scheduler scheduler;

void leave_home([[maybe_unused]] Fiber& fiber) {
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&scheduler.home_fake_stack, fiber.stack.get(), kStackBytes);
#endif
}

void arrive_home() {
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(scheduler.home_fake_stack, nullptr, nullptr);
#endif
}

[[noreturn]] void go_home([[maybe_unused]] Fiber& fiber) {
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&fiber.fake_stack, scheduler.home_stack, scheduler.home_stack_bytes);
#endif
    _longjmp(scheduler.home, 1);
}

void arrive([[maybe_unused]] Fiber& fiber) {
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(fiber.fake_stack, &scheduler.home_stack, &scheduler.home_stack_bytes);
#endif
}

/// One thread of a block after another.
[[noreturn]] void run_fiber() {
    Fiber& fiber = *scheduler.running;
    for (;;) {
        arrive(fiber);
        scheduler.body(scheduler.context);
        fiber.done = true;
        if (_setjmp(fiber.at) == 0) go_home(fiber);
    }
}

/// A fiber that stands at the beginning of its loop.
void enter_anew(Fiber& fiber) {
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.start, &run_fiber, 0);
    fiber.fake_stack = nullptr;
#ifdef WITH_ASAN
    __asan_unpoison_memory_region(fiber.stack.get(), kStackBytes);
#endif
}

/// Run one fiber until it waits or ends.
void resume(unsigned index) {
    Fiber& fiber = scheduler.fibers[index];
    scheduler.running = &fiber;
    scheduler.index = index;
    threadIdx = {index % blockDim.x, index / blockDim.x % blockDim.y, index / blockDim.x / blockDim.y};
    if (_setjmp(scheduler.home) == 0) {
        leave_home(fiber);
        if (fiber.entered) _longjmp(fiber.at, 1);
        enter_anew(fiber);
        fiber.entered = true;
        setcontext(&fiber.start);
    }
    arrive_home();
}

void wait(Meeting& meeting) {
    Fiber& fiber = *scheduler.running;
    fiber.waits_at = &meeting;
    fiber.waits_for = meeting.turn;
    if (_setjmp(fiber.at) == 0) go_home(fiber);
    arrive(*scheduler.running);
}

void all_came(Meeting& meeting) {
    ++meeting.turn;
    meeting.num_here = meeting.here = 0;
}

/// \param text  printf's, with the lane in question
[[noreturn]] void fail(const char* text, int lane) {
    // Nothing of this stack is ever destroyed.
    char what[96], all[160];
    std::snprintf(what, sizeof what, text, lane);
    std::snprintf(all, sizeof all, "%s (thread %u of block %u, %u)", what, scheduler.index, blockIdx.x, blockIdx.y);
    scheduler.fault = all;
    scheduler.running->done = true;
    go_home(*scheduler.running);
}

void prepare(unsigned num_threads) {
    if (scheduler.fibers.size() < num_threads) scheduler.fibers.resize(num_threads);
    scheduler.warps.assign((num_threads + kLanes - 1) / kLanes, {});
    scheduler.block = {};
    for (unsigned i = 0; i < num_threads; ++i) {
        Fiber& fiber = scheduler.fibers[i];
        fiber.done = false;
        fiber.waits_at = nullptr;
    }
}

/// What a faulty block leaves behind are threads in the middle of something.
void abandon() {
    for (Fiber& fiber : scheduler.fibers) fiber.entered = false;
}

std::string deadlock(unsigned num_threads) {
    unsigned ended = 0, at_barrier = 0;
    for (unsigned i = 0; i < num_threads; ++i) {
        ended += scheduler.fibers[i].done;
        at_barrier += !scheduler.fibers[i].done && scheduler.fibers[i].waits_at == &scheduler.block;
    }
    return "threads wait for each other: " + std::to_string(at_barrier) + " at a barrier, " +
           std::to_string(num_threads - ended - at_barrier) + " in a warp, " + std::to_string(ended) + " have ended (block " +
           std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ")";
}

void run_block(unsigned num_threads) {
    prepare(num_threads);
    for (unsigned num_done = 0; num_done < num_threads;) {
        bool moved = false;
        for (unsigned i = 0; i < num_threads; ++i) {
            Fiber& fiber = scheduler.fibers[i];
            if (fiber.done || (fiber.waits_at != nullptr && fiber.waits_at->turn == fiber.waits_for)) continue;
            fiber.waits_at = nullptr;
            moved = true;
            resume(i);
            num_done += scheduler.fibers[i].done;
            if (!scheduler.fault.empty()) return;
        }
        if (!moved) {
            scheduler.fault = deadlock(num_threads);
            return;
        }
    }
}

}  // namespace

void run_grid(dim3 grid, dim3 block, void (*body)(void*), void* context) {
    const unsigned num_threads = block.x * block.y * block.z;
    gridDim = grid;
    blockDim = block;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || num_threads == 0 ||
        num_threads > kMaxThreads) {
        scheduler.fault = "a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                          std::to_string(grid.z) + " blocks of " + std::to_string(num_threads) + " threads";
        return;
    }
    scheduler.body = body;
    scheduler.context = context;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x && scheduler.fault.empty(); ++x) {
                blockIdx = {x, y, z};
                run_block(num_threads);
            }
    if (!scheduler.fault.empty()) abandon();
}

void barrier() {
    Meeting& block = scheduler.block;
    if (++block.num_here == blockDim.x * blockDim.y * blockDim.z)
        all_came(block);
    else
        wait(block);
}

std::uint64_t exchange(unsigned mask, std::uint64_t bits, int lane) {
    Warp& warp = scheduler.warps[scheduler.index / kLanes];
    Meeting& meeting = warp.meeting;
    const unsigned own = 1u << own_lane();
    if (lane < 0 || lane >= static_cast<int>(kLanes) || (mask >> lane & 1) == 0)
        fail("lane %d is read, which takes no part", lane);
    if ((mask & own) == 0) fail("lane %d takes part, which its mask leaves out", own_lane());
    if (meeting.num_here > 0 && meeting.mask != mask) fail("lane %d meets lanes of another mask", own_lane());
    const unsigned turn = meeting.turn;
    warp.brought[turn % 2][static_cast<std::size_t>(own_lane())] = bits;
    meeting.mask = mask;
    ++meeting.num_here;
    meeting.here |= own;
    if (meeting.here == mask)
        all_came(meeting);
    else
        wait(meeting);
    return warp.brought[turn % 2][static_cast<std::size_t>(lane)];
}

int own_lane() { return static_cast<int>(scheduler.index % kLanes); }

std::string take_fault() { return std::exchange(scheduler.fault, {}); }
const std::string& fault() { return scheduler.fault; }

}  // namespace cuda_on_cpu

#include "cpus.h"

#include <sched.h>

#include <algorithm>
#include <string>

#include "error.h"

namespace harken {

constexpr std::size_t kMaxThreads = 1024;

int num_threads_of(std::size_t wanted) {
    if (wanted > kMaxThreads)
        throw Error(HARKEN_INVALID_ARGUMENT, "num_threads is " + std::to_string(wanted) + "; wanted 0 to 1024");
    if (wanted > 0) return static_cast<int>(wanted);
    cpu_set_t cpus;
    const int allowed = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return std::clamp(allowed, 1, static_cast<int>(kMaxThreads));
}

}  // namespace harken

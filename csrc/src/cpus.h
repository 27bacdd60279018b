/// \file
/// How many threads a caller asked for.
#pragma once

#include <cstddef>

namespace harken {

/// \param wanted  0: one for each CPU the process may use
/// \throws Error  HARKEN_INVALID_ARGUMENT: more than 1024
[[nodiscard]] int num_threads_of(std::size_t wanted);

}  // namespace harken

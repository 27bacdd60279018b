/// \file
/// The same numbers in every run.
#pragma once
#include <cstdint>
#include <vector>

struct Random {
    std::uint64_t state = 0x9e3779b97f4a7c15;

    std::uint64_t next() {
        state ^= state << 13;
        state ^= state >> 7;
        return state ^= state << 17;
    }
    /// Between -1 and 1.
    float number() { return static_cast<float>(static_cast<std::int64_t>(next()) >> 40) * 0x1p-23f; }
    std::vector<float> numbers(std::size_t n) {
        std::vector<float> x(n);
        for (float& value : x) value = number();
        return x;
    }
};

/// \file
/// Sequences of different lengths laid end to end: the one form in which anything is batched.
///
///     rows      a a a b b b b b c c
///     lengths   3       5         2
///     starts    0     3         8      10
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace harken {

class Segments {
  public:
    explicit Segments(const std::vector<std::size_t>& lengths) : starts_{0} {
        for (const std::size_t length : lengths) starts_.push_back(starts_.back() + length);
    }

    [[nodiscard]] std::size_t size() const noexcept { return starts_.size() - 1; }
    [[nodiscard]] std::size_t num_rows() const noexcept { return starts_.back(); }
    [[nodiscard]] std::size_t start(std::size_t i) const noexcept { return starts_[i]; }
    [[nodiscard]] std::size_t end(std::size_t i) const noexcept { return starts_[i + 1]; }
    [[nodiscard]] std::size_t length(std::size_t i) const noexcept { return starts_[i + 1] - starts_[i]; }
    [[nodiscard]] std::size_t max_length() const noexcept {
        std::size_t longest = 0;
        for (std::size_t i = 0; i < size(); ++i) longest = std::max(longest, length(i));
        return longest;
    }

  private:
    std::vector<std::size_t> starts_;  // first row of each sequence, and the number of rows
};

}  // namespace harken

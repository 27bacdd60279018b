/// \file
/// What computes a model's network in place of libharken's own code: another runtime, another device.
#pragma once

#include <span>
#include <vector>

#include "template.h"
#include "threads.h"

namespace harken {

/// Thread safety: any number of calls at once.
class Runner {
  public:
    Runner() = default;
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;
    virtual ~Runner() = default;

    /// What it is called and its version; lives as long as the runner.
    [[nodiscard]] virtual const char* name() const noexcept = 0;
    /// Whether every item of a batch costs as much as its longest.
    [[nodiscard]] virtual bool pads() const noexcept = 0;
    /// Vectors [prompts.size(), dim] of a batch.
    /// \param clips  the sound of each prompt, each long enough for a token; empty: the prompts are those of sentences
    virtual void run(const std::vector<std::span<const float>>& clips, const std::vector<const Prompt*>& prompts,
                     float* vectors, ThreadPool& pool) const = 0;
};

}  // namespace harken

/// \file
/// ONNX Runtime, found and loaded when it is asked for: arrays by name in, one array out.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "buffer.h"

namespace harken {

/// An array that a graph takes; the numbers stay the caller's.
struct OnnxInput {
    const char* name;
    std::vector<std::int64_t> shape;
    std::variant<std::span<const float>, std::span<const std::int64_t>> values;
};

struct OnnxOutput {
    std::vector<std::int64_t> shape;
    Buffer<float> values;
};

/// The library. It stays loaded until the process ends, because its threads cannot be told to forget it.
///
/// Thread safety: any number of users.
class OnnxRuntime {
  public:
    /// \param library  path of libonnxruntime; empty: the environment variable HARKEN_ONNXRUNTIME, or the usual names
    /// \throws Error   HARKEN_BACKEND_ERROR: none can be loaded, or one that is too old
    explicit OnnxRuntime(const std::string& library);
    ~OnnxRuntime();

    /// "onnxruntime" and the version.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

  private:
    friend class OnnxGraph;
    struct Api;

    std::unique_ptr<const Api> api_;
    std::string name_;
};

/// A graph and its weights in memory.
///
/// Thread safety: any number of runs at once; they share the graph's threads.
class OnnxGraph {
  public:
    /// \throws Error  HARKEN_IO_ERROR: there is no such file; HARKEN_MODEL_ERROR: ONNX Runtime does not take it
    OnnxGraph(std::shared_ptr<const OnnxRuntime> runtime, const std::string& path, int num_threads);
    ~OnnxGraph();

    /// \param output  the one that is wanted, float32
    /// \throws Error  HARKEN_BACKEND_ERROR: it fails, in ONNX Runtime's words
    [[nodiscard]] OnnxOutput run(std::span<const OnnxInput> inputs, const char* output) const;

  private:
    struct Session;

    std::shared_ptr<const OnnxRuntime> runtime_;
    std::string path_;
    std::unique_ptr<const Session> session_;
};

}  // namespace harken

/// \file
/// A queue of work on one device.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

#include "cuda/check.h"
#include "cuda/device.h"

namespace harken::cuda {

/// Of the device that is current when it is made.
class Stream {
  public:
    Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
    ~Stream() { (void)cudaStreamDestroy(stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    operator cudaStream_t() const noexcept { return stream_; }

    /// \param from  may change as soon as this returns
    void copy_to_device(void* to, const void* from, std::size_t num_bytes) {
        if (num_bytes > 0) check(cudaMemcpyAsync(to, from, num_bytes, cudaMemcpyHostToDevice, stream_), "copy to the device");
    }
    void copy_to_host(void* to, const void* from, std::size_t num_bytes) {
        if (num_bytes > 0) check(cudaMemcpyAsync(to, from, num_bytes, cudaMemcpyDeviceToHost, stream_), "copy from the device");
    }
    void wait() { check(cudaStreamSynchronize(stream_), "the device's work"); }

  private:
    cudaStream_t stream_ = nullptr;
};

/// Room for n things of type T in a buffer, whatever it held.
template <typename T>
T* room(DeviceBuffer& buffer, std::size_t n) {
    buffer.reserve(n * sizeof(T));
    return buffer.as<T>();
}

/// A copy of `values` in a buffer.
template <typename T>
T* copied(DeviceBuffer& buffer, const std::vector<T>& values, Stream& stream) {
    T* to = room<T>(buffer, values.size());
    stream.copy_to_device(to, values.data(), values.size() * sizeof(T));
    return to;
}

}  // namespace harken::cuda

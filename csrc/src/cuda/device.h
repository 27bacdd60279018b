/// \file
/// CUDA devices, and memory on them. No header of CUDA is seen from here on outward.
#pragma once

#include <cstddef>
#include <utility>

namespace harken::cuda {

/// 0 where there is no driver, one too old, or no device.
int num_devices() noexcept;

/// Makes a device the calling thread's own, and gives the one before back at the end.
class OnDevice {
  public:
    /// \throws Error  HARKEN_BACKEND_ERROR: no such device
    explicit OnDevice(int device);
    ~OnDevice();
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    int before_ = 0;
};

/// Bytes on the device that is current when it is made; freed with it.
class DeviceBuffer {
  public:
    DeviceBuffer() = default;
    /// \throws Error  HARKEN_OUT_OF_MEMORY
    explicit DeviceBuffer(std::size_t num_bytes);
    ~DeviceBuffer();
    DeviceBuffer(DeviceBuffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }

    void copy_from(const void* host, std::size_t num_bytes);
    void copy_to(void* host, std::size_t num_bytes) const;
    /// Room for num_bytes, what was there is lost.
    void reserve(std::size_t num_bytes);
    template <typename T>
    [[nodiscard]] T* as() const noexcept {
        return static_cast<T*>(data_);
    }

  private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace harken::cuda

#include "cuda/device.h"

#include <cuda_runtime.h>

#include <string>

#include "cuda/check.h"

namespace harken::cuda {

int num_devices() noexcept {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    // Without a driver, with one too old, and without a device: the same to whoever asks.
    if (status != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return count;
}

OnDevice::OnDevice(int device) {
    const int count = num_devices();
    if (device < 0 || device >= count)
        throw Error(HARKEN_BACKEND_ERROR, "CUDA device " + std::to_string(device) + " was asked for; there are " +
                                              std::to_string(count));
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
}

OnDevice::~OnDevice() { (void)cudaSetDevice(before_); }

DeviceBuffer::DeviceBuffer(std::size_t num_bytes) : size_(num_bytes) {
    if (num_bytes > 0) check(cudaMalloc(&data_, num_bytes), "cudaMalloc");
}

DeviceBuffer::~DeviceBuffer() { (void)cudaFree(data_); }

void DeviceBuffer::copy_from(const void* host, std::size_t num_bytes) {
    check(cudaMemcpy(data_, host, num_bytes, cudaMemcpyHostToDevice), "copy to the device");
}

void DeviceBuffer::copy_to(void* host, std::size_t num_bytes) const {
    check(cudaMemcpy(host, data_, num_bytes, cudaMemcpyDeviceToHost), "copy from the device");
}

void DeviceBuffer::reserve(std::size_t num_bytes) {
    if (num_bytes > size_) *this = DeviceBuffer(num_bytes);
}

}  // namespace harken::cuda

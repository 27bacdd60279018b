#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

namespace harken {
namespace {

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
    throw Error(HARKEN_IO_ERROR, path + ": " + why);
}

struct Descriptor {
    int value;
    ~Descriptor() {
        if (value >= 0) ::close(value);
    }
};

}  // namespace

MappedFile::MappedFile(const std::string& path) {
    // Without waiting: opening a pipe would wait for its writer.
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.value < 0) refuse(path, std::string("cannot be opened: ") + std::strerror(errno));
    struct stat about{};
    if (::fstat(file.value, &about) != 0) refuse(path, std::string("cannot be read: ") + std::strerror(errno));
    if (!S_ISREG(about.st_mode)) refuse(path, "is a folder, a pipe or a device; wanted a file");
    size_ = static_cast<std::size_t>(about.st_size);
    if (size_ == 0) return;
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
    if (mapped == MAP_FAILED) refuse(path, std::string("cannot be mapped: ") + std::strerror(errno));
    data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

}  // namespace harken

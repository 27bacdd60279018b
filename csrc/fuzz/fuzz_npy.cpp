// .npy files.
#include "error.h"
#include "fuzz.h"
#include "npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::size_t sum = 0;
    try {
        const harken::TensorView view = harken::read_npy(std::as_bytes(std::span(data, size)), "fuzz");
        for (std::size_t i = 0; i < view.num_bytes; ++i) sum += std::to_integer<std::size_t>(view.data[i]);
    } catch (const harken::Error&) {
    }
    // So that the reading is not left out.
    return sum == ~std::size_t{0};
}

std::vector<std::string> fuzz_seeds() {
    std::vector<std::string> seeds;
    for (const char* about :
         {"'<f4', 'fortran_order': False, 'shape': (2, 3)", "'|i1', 'fortran_order': False, 'shape': (24,)",
          "'<f2', 'fortran_order': True, 'shape': (3, 4)", "'<i8', 'fortran_order': False, 'shape': ()"})
        for (const char version : {'\1', '\2'}) {
            std::string header = std::string("{'descr': ") + about + ", }";
            header.resize(100, ' ');
            const std::string length = version == 1 ? bytes_of<std::uint16_t>(100) : bytes_of<std::uint32_t>(100);
            seeds.push_back("\x93NUMPY" + std::string{version, '\0'} + length + header + std::string(24, '\3'));
        }
    return seeds;
}

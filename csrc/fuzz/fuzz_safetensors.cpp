// .safetensors: every byte of every tensor is read.
#include "error.h"
#include "fuzz.h"
#include "safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::size_t sum = 0;
    try {
        const harken::SafetensorsFile file(std::as_bytes(std::span(data, size)), "fuzz");
        for (const std::string& name : file.names()) {
            const harken::TensorView& view = file.find(name);
            for (std::size_t i = 0; i < view.num_bytes; ++i) sum += std::to_integer<std::size_t>(view.data[i]);
        }
    } catch (const harken::Error&) {
    }
    return sum == ~std::size_t{0};
}

std::vector<std::string> fuzz_seeds() {
    std::vector<std::string> seeds;
    for (
        const char* header :
        {R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})",
         R"({"__metadata__":{"k":"v"},"a":{"dtype":"I8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[8,16]}})",
         R"({"z":{"dtype":"F16","shape":[0,9],"data_offsets":[16,16]}})", "{}"})
        seeds.push_back(bytes_of(static_cast<std::uint64_t>(std::string(header).size())) + header +
                        std::string(16, '\5'));
    return seeds;
}

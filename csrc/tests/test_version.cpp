#include <cstring>

#include "check.h"
#include "harken/harken.h"

int main() {
    CHECK(harken_version() == HARKEN_VERSION);
    CHECK(harken_abi_version() == HARKEN_ABI_VERSION);
    CHECK(std::strcmp(harken_last_error(), "") == 0);
    const char* isa = harken_cpu_isa();
    CHECK(!std::strcmp(isa, "scalar") || !std::strcmp(isa, "avx2") || !std::strcmp(isa, "avx512"));
}

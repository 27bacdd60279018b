// What libFuzzer lacks of driver.cpp: fuzz_NAME --write-seeds FOLDER writes the inputs to begin with.
#include <cstdlib>

#include "fuzz.h"

extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    if (*argc == 3 && std::string_view((*argv)[1]) == "--write-seeds") {
        write_seeds((*argv)[2]);
        std::exit(0);
    }
    return 0;
}

#include "c_common.h"

#include <cstdio>

#include "isa.h"

namespace harken {
namespace {
// An array, so that keeping a text can neither throw nor need a destructor at the thread's end.
thread_local char last_error[2048] = "";
}  // namespace

harken_status failed(harken_status status, const char* text) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s", text);
    return status;
}

}  // namespace harken

extern "C" {

uint32_t harken_version(void) { return HARKEN_VERSION; }
uint32_t harken_abi_version(void) { return HARKEN_ABI_VERSION; }
const char* harken_last_error(void) { return harken::last_error; }
const char* harken_cpu_isa(void) { return harken::isa_name(harken::cpu_isa()); }

}  // extern "C"

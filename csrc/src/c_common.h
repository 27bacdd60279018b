/// \file
/// What every function of the C interface is wrapped in: exceptions become a status and this thread's text.
#pragma once

#include <new>
#include <string>
#include <utility>

#include "error.h"

namespace harken {

/// Keep the text of a failure for harken_last_error.
harken_status failed(harken_status status, const char* text) noexcept;

/// Run `body`; nothing it throws leaves.
template <typename Body>
harken_status guarded(Body&& body) noexcept {
    try {
        std::forward<Body>(body)();
        return HARKEN_OK;
    } catch (const Error& error) {
        return failed(error.code(), error.what());
    } catch (const std::bad_alloc&) {
        return failed(HARKEN_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& error) {
        return failed(HARKEN_INTERNAL_ERROR, error.what());
    } catch (...) {
        return failed(HARKEN_INTERNAL_ERROR, "an exception of an unknown kind");
    }
}

/// Refuse a null pointer by the argument's name.
inline void require(const void* pointer, const char* function, const char* argument) {
    if (pointer == nullptr)
        throw Error(HARKEN_INVALID_ARGUMENT, std::string(function) + ": " + argument + " is NULL");
}

}  // namespace harken

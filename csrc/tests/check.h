/// \file
/// CHECK, CHECK_NEAR and CHECK_THROWS: a test program prints what failed and exits 1.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>

#define CHECK(cond)                                                              \
    do {                                                                         \
        if (!(cond)) {                                                           \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);      \
            std::exit(1);                                                        \
        }                                                                        \
    } while (false)

#define CHECK_NEAR(got, want, tolerance)                                                                       \
    do {                                                                                                       \
        const double got_ = (got), want_ = (want);                                                             \
        if (!(std::fabs(got_ - want_) <= (tolerance))) {                                                       \
            std::fprintf(stderr, "%s:%d: %s is %.9g, wanted %.9g\n", __FILE__, __LINE__, #got, got_, want_);   \
            std::exit(1);                                                                                      \
        }                                                                                                      \
    } while (false)

#define CHECK_THROWS(type, expr)                                                                     \
    do {                                                                                             \
        bool thrown_ = false;                                                                        \
        try {                                                                                        \
            (void)(expr);                                                                            \
        } catch (const type&) {                                                                      \
            thrown_ = true;                                                                          \
        }                                                                                            \
        if (!thrown_) {                                                                              \
            std::fprintf(stderr, "%s:%d: %s did not throw\n", __FILE__, __LINE__, #expr);            \
            std::exit(1);                                                                            \
        }                                                                                            \
    } while (false)

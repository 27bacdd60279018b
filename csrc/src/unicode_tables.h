/// \file
/// Data about characters; unicode_tables.cpp is written by tools/make_unicode_tables.py. All tables are sorted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace harken::unicode {

struct ClassRange {
    char32_t first, last;
    std::uint8_t value;
};
struct Decomposition {
    char32_t code;
    std::uint16_t begin, length;  // in `decomposed`
};
struct Composite {
    char32_t first, second, code;
};

extern const ClassRange class_ranges[];
extern const std::size_t num_class_ranges;
extern const Decomposition decompositions[];
extern const std::size_t num_decompositions;
extern const Composite composites[];
extern const std::size_t num_composites;
extern const ClassRange combining[];
extern const std::size_t num_combining;
extern const char32_t decomposed[];

}  // namespace harken::unicode

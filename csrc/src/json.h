/// \file
/// JSON (RFC 8259) into a tree, for files that may be hostile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "error.h"

namespace harken {

/// One value. What asks for another kind throws JsonKindError (HARKEN_FILE_FORMAT_ERROR) that says got and wanted.
class Json {
  public:
    using Array = std::vector<Json>;
    using Object = std::vector<std::pair<std::string, Json>>;  ///< in the order of the text; no name stands twice

    Json() = default;
    explicit Json(bool value) : value_(value) {}
    explicit Json(std::int64_t value) : value_(value) {}
    explicit Json(double value) : value_(value) {}
    explicit Json(std::string value) : value_(std::move(value)) {}
    explicit Json(Array value) : value_(std::move(value)) {}
    explicit Json(Object value) : value_(std::move(value)) {}

    [[nodiscard]] bool is_null() const noexcept { return value_.index() == 0; }
    [[nodiscard]] bool is_bool() const noexcept { return value_.index() == 1; }
    [[nodiscard]] bool is_int() const noexcept { return value_.index() == 2; }
    [[nodiscard]] bool is_number() const noexcept { return value_.index() == 2 || value_.index() == 3; }
    [[nodiscard]] bool is_string() const noexcept { return value_.index() == 4; }
    [[nodiscard]] bool is_array() const noexcept { return value_.index() == 5; }
    [[nodiscard]] bool is_object() const noexcept { return value_.index() == 6; }

    [[nodiscard]] bool as_bool() const;
    [[nodiscard]] std::int64_t as_int() const;  ///< written without point or exponent, and within 64 bits
    [[nodiscard]] double as_double() const;
    [[nodiscard]] const std::string& as_string() const;
    [[nodiscard]] const Array& as_array() const;
    [[nodiscard]] const Object& as_object() const;

    /// A member of an object; nullptr where it is missing or null.
    [[nodiscard]] const Json* find(std::string_view name) const;
    /// A member that must be there.
    [[nodiscard]] const Json& at(std::string_view name) const;

  private:
    [[noreturn]] void refuse(const char* wanted) const;

    std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

/// What a Json throws when it is asked for another kind or a member it has not; `naming` adds the file.
class JsonKindError : public Error {
  public:
    using Error::Error;
};

/// Run `body`, which reads a tree; errors about kinds and members then begin with `where`.
template <typename Body>
decltype(auto) naming(const std::string& where, Body&& body) {
    try {
        return std::forward<Body>(body)();
    } catch (const JsonKindError& error) {
        throw Error(error.code(), where + ": " + error.what());
    }
}

struct JsonLimits {
    std::size_t max_bytes = std::size_t{64} << 20;
    std::size_t max_depth = 64;
    std::size_t max_values = std::size_t{1} << 24;
};

/// \param where  what errors call the text, e.g. its path
/// \throws Error  HARKEN_FILE_FORMAT_ERROR: no JSON, past a limit, a name given twice, no UTF-8; says at which byte
[[nodiscard]] Json parse_json(std::string_view text, const std::string& where = "JSON", const JsonLimits& limits = {});

}  // namespace harken

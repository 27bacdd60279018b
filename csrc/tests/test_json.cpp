// parse_json: RFC 8259 and nothing else; hostile depth, size and numbers give errors that say where.
#include "json.h"

#include <string>

#include "check.h"

using harken::Error;
using harken::Json;
using harken::parse_json;

namespace {

std::string text_of(const std::string& text, const harken::JsonLimits& limits = {}) {
    try {
        (void)parse_json(text, "x.json", limits);
    } catch (const Error& error) {
        CHECK(error.code() == HARKEN_FILE_FORMAT_ERROR);
        return error.what();
    }
    return "";
}

}  // namespace

int main() {
    const Json json = parse_json(R"( {"a": [1, -2.5e1, true, null, "x\u00e9\ud83d\ude00\n"], "b": {}, "n": null} )");
    const Json::Array& a = json.at("a").as_array();
    CHECK(a.size() == 5 && a[0].as_int() == 1 && a[1].as_double() == -25 && a[2].as_bool() && a[3].is_null());
    CHECK(a[4].as_string() == "x\xc3\xa9\xf0\x9f\x98\x80\n");
    CHECK(json.find("n") == nullptr && json.find("missing") == nullptr && json.at("b").as_object().empty());
    CHECK(parse_json("9223372036854775807").as_int() == INT64_MAX);
    CHECK(!parse_json("9223372036854775808").is_int() && parse_json("9223372036854775808").is_number());
    CHECK(parse_json("1e999").as_double() > 1e308);
    CHECK_THROWS(Error, json.at("missing"));
    CHECK_THROWS(Error, json.at("a").as_int());
    CHECK_THROWS(Error, a[1].as_int());
    CHECK_THROWS(Error, parse_json("9223372036854775808").as_int());

    for (const char* bad : {"",
                            " ",
                            "{",
                            "[1,]",
                            "[1 2]",
                            "{\"a\"}",
                            "{\"a\":1,}",
                            "{a:1}",
                            "01",
                            "-",
                            "1.",
                            ".5",
                            "1e",
                            "+1",
                            "nul",
                            "truex",
                            "\"a",
                            "\"\\x\"",
                            "\"\\u12g4\"",
                            "\"\\ud800\"",
                            "\"\\ud800\\u0041\"",
                            "\"\\udc00\"",
                            "\"\t\"",
                            "\"\xff\"",
                            "\"\xc0\x80\"",
                            "\"\xed\xa0\x80\"",
                            "1 2",
                            "NaN",
                            "Infinity",
                            "[\"\\u1\"]",
                            "{\"a\":1,\"a\":2}"})
        CHECK(text_of(bad).starts_with("x.json: is no JSON at byte "));
    CHECK(text_of("[0, nope]") == "x.json: is no JSON at byte 4: no value");

    const std::string deep(100000, '[');
    CHECK(text_of(deep).find("nested deeper") != std::string::npos);
    CHECK(text_of("[[[[1]]]]", {.max_depth = 3}).find("nested deeper than 3") != std::string::npos);
    CHECK(text_of("[1,2,3,4]", {.max_values = 3}).find("more than 3 values") != std::string::npos);
    CHECK(text_of("[1,2,3,4]", {.max_bytes = 3}).find("has 9 bytes") != std::string::npos);
    CHECK(text_of("[[[1]]]", {.max_depth = 3}).empty());
}

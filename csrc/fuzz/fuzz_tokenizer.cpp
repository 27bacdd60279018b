// tokenizer.json, and a text behind the first zero byte that is tokenised with it.
#include "error.h"
#include "fuzz.h"
#include "tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::size_t zero = std::min(input.find('\0'), size);
    try {
        const harken::Tokenizer tokenizer = harken::Tokenizer::from_json(input.substr(0, zero), "fuzz");
        for (const std::int32_t id : tokenizer.encode(input.substr(std::min(zero + 1, size))))
            if (id < 0 || static_cast<std::size_t>(id) >= tokenizer.vocab_size()) std::abort();
    } catch (const harken::Error&) {
    }
    return 0;
}

std::vector<std::string> fuzz_seeds() {
    const std::string vocabulary = R"({"a":0,"b":1,"ab":2,"Ġ":3,"Ġa":4,"Ã":5,"©":6,"Ã©":7,"1":8,"'":9,"s":10,"Ċ":11})";
    const std::string model =
        R"("model":{"type":"BPE","unk_token":null,"vocab":)" + vocabulary + R"(,"merges":["a b",["Ġ","a"],"Ã ©"]})";
    const std::string added =
        R"("added_tokens":[{"id":12,"content":"<|x|>","special":true},{"id":13,"content":"é","normalized":true,"lstrip":true,"rstrip":true},{"id":14,"content":"b","single_word":true}])";
    const std::string text = std::string("\0ab a's  é\n 11 <|x|>é\xff\xf0\x9f", 25) + "e\xcc\x81\xea\xb0\x80";
    std::vector<std::string> seeds;
    for (
        const std::string splitter :
        {R"({"type":"ByteLevel","add_prefix_space":false})",
         R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false}]})",
         R"xx({"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})xx"})
        seeds.push_back(R"({"normalizer":{"type":"NFC"},"pre_tokenizer":)" + splitter + "," + added + "," + model +
                        "}" + text);
    return seeds;
}

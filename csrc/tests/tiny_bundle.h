/// \file
/// A bundle of random numbers in a folder of its own: everything a model needs, in a few hundred kilobytes.
#pragma once

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "random.h"

/// A folder that is gone at the end.
class TempFolder {
  public:
    TempFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "harken-test-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~TempFolder() { std::filesystem::remove_all(path_); }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

inline void write_file(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
}

/// What differs from one tiny model to another.
struct TinyOptions {
    std::string window = "null";  ///< frames a segment, or null
    std::map<std::string, std::string> recipe = {};  ///< fields as JSON, instead of the usual ones
    bool heads = true;
};

class TinyBundle {
  public:
    static constexpr int kTowerWidth = 24, kWidth = 20, kMlp = 28, kVocab = 300, kDim = 18;

    explicit TinyBundle(TinyOptions options = {}) : options_(std::move(options)) {
        write_file(path() + "/tokenizer.json", tokenizer());
        write_file(path() + "/manifest.json", manifest());
        write_file(path() + "/weights.safetensors", weights());
    }
    [[nodiscard]] const std::string& path() const { return folder_.path(); }

    [[nodiscard]] std::string manifest() const {
        std::map<std::string, std::string> recipe = options_.recipe;
        recipe.insert({{"name", "\"tiny\""},
                       {"audio_template", "\"<s>{audio}</s>\""},
                       {"text_template", "\"<s>{text}</s>\""},
                       {"default_audio_instruction", "\"\""},
                       {"default_text_instruction", "\"\""},
                       {"pooling", "\"mean\""},
                       {"attention", "\"causal\""},
                       {"normalize_before_head", "false"},
                       {"normalize", "true"},
                       {"audio_head", options_.heads ? "\"a\"" : "null"},
                       {"text_head", options_.heads ? "\"t\"" : "null"},
                       {"max_audio_s", "2.0"},
                       {"min_audio_s", "0.0"},
                       {"long_audio", "\"truncate\""},
                       {"max_text_tokens", "40"},
                       {"silence_db", "null"},
                       {"strip_text_end", "false"}});
        std::string fields;
        for (const auto& [name, value] : recipe) fields += (fields.empty() ? "\"" : ",\"") + name + "\":" + value;
        return R"({"format":"harken-export","format_version":1,"target":"bundle","bundle_version":1,"dims":{"vector":)" +
               std::to_string(options_.heads ? kDim : kWidth) + R"(},"recipe":{)" + fields + R"(},
"model":{"tower":{"front_end":"whisper-80","width":24,"num_layers":2,"num_heads":3,"mlp_width":28,"max_positions":150,
"max_samples":48000,"window":)" +
               options_.window + R"(,"norm_eps":1e-05,"projects":false},"projects":true,
"decoder":{"width":20,"num_layers":2,"num_heads":4,"num_kv_heads":2,"head_width":6,"mlp_width":28,"vocab_size":300,
"rms_eps":1e-06,"rope_theta":10000.0},"audio_token_id":258,"fingerprint_id":"0123456789ab"}})";
    }

    static std::string weights() {
        Tensors tensors;
        tensors.linear("tower.conv1", kTowerWidth, 240);
        tensors.linear("tower.conv2", kTowerWidth, 3 * kTowerWidth);
        tensors.add("tower.positions", {150, kTowerWidth});
        for (int i = 0; i < 2; ++i) {
            const std::string name = "tower.layers." + std::to_string(i) + ".";
            for (const char* norm : {"norm1", "norm2"}) {
                tensors.add(name + norm + ".weight", {kTowerWidth});
                tensors.add(name + norm + ".bias", {kTowerWidth});
            }
            tensors.linear(name + "qkv", 3 * kTowerWidth, kTowerWidth);
            tensors.linear(name + "out", kTowerWidth, kTowerWidth);
            tensors.linear(name + "fc1", kMlp, kTowerWidth);
            tensors.linear(name + "fc2", kTowerWidth, kMlp);
        }
        tensors.add("tower.norm.weight", {kTowerWidth});
        tensors.add("tower.norm.bias", {kTowerWidth});
        tensors.linear("projector", kWidth, kTowerWidth);
        tensors.add("decoder.embed_tokens", {kVocab, kWidth});
        for (int i = 0; i < 2; ++i) {
            const std::string name = "decoder.layers." + std::to_string(i) + ".";
            tensors.add(name + "norm1.weight", {kWidth});
            tensors.add(name + "norm2.weight", {kWidth});
            tensors.linear(name + "qkv", 8 * 6, kWidth);
            tensors.linear(name + "o", kWidth, 4 * 6);
            tensors.linear(name + "gate_up", 2 * kMlp, kWidth);
            tensors.linear(name + "down", kWidth, kMlp);
        }
        tensors.add("decoder.norm.weight", {kWidth});
        for (const char* side : {"audio", "text"}) {
            const std::string name = std::string("heads.") + side;
            tensors.linear(name + ".linear", kDim, kWidth);
            tensors.add(name + ".norm.weight", {kDim});
            tensors.add(name + ".norm.bias", {kDim});
        }
        return tensors.file();
    }

    /// Bytes as tokens, and three marks.
    static std::string tokenizer() {
        std::string vocab;
        int next = 256;
        for (int byte = 0; byte < 256; ++byte) {
            const bool printed = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
            const int code = printed ? byte : next++;
            std::string text;
            if (code < 0x80)
                text = code == '"' || code == '\\' ? std::string("\\") + static_cast<char>(code) : std::string(1, static_cast<char>(code));
            else
                text = {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
            vocab += (byte ? ",\"" : "\"") + text + "\":" + std::to_string(byte);
        }
        std::string added;
        int id = 256;
        for (const char* mark : {"<s>", "</s>", "<audio>"}) {
            added += std::string(id > 256 ? "," : "") + R"({"id":)" + std::to_string(id) + R"(,"content":")" + mark +
                     R"(","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true})";
            ++id;
        }
        return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)" + added +
               R"(],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
"post_processor":null,"decoder":null,"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{)" + vocab + R"(},"merges":[]}})";
    }

  private:
    struct Tensors {
        std::string header, data;
        Random random;

        void add(const std::string& name, const std::vector<int>& shape) {
            std::size_t size = 1;
            std::string dims;
            for (const int n : shape) {
                size *= static_cast<std::size_t>(n);
                dims += (dims.empty() ? "" : ",") + std::to_string(n);
            }
            const std::vector<float> numbers = random.numbers(size);
            header += (header.empty() ? "\"" : ",\"") + name + R"(":{"dtype":"F32","shape":[)" + dims + R"(],"data_offsets":[)" +
                      std::to_string(data.size()) + "," + std::to_string(data.size() + 4 * size) + "]}";
            data.append(reinterpret_cast<const char*>(numbers.data()), 4 * size);
        }
        void linear(const std::string& name, int num_out, int num_in) {
            add(name + ".panels", {(num_out + 15) / 16, num_in, 16});
            add(name + ".bias", {num_out});
        }
        [[nodiscard]] std::string file() const {
            std::string text = "{" + header + "}";
            text.resize((text.size() + 7) / 8 * 8, ' ');
            std::uint64_t size = text.size();
            std::string length(8, '\0');
            std::memcpy(length.data(), &size, 8);
            return length + text + data;
        }
    };

    TempFolder folder_;
    TinyOptions options_;
};

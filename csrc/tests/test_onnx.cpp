// The second runner where there is no ONNX Runtime: what is refused and in which words, what the graphs would be fed with,
// and in which batches. What they answer: tests/csrc/test_onnx.py.
#include "onnx_runner.h"

#include <cstdlib>
#include <numeric>

#include "batching.h"
#include "check.h"
#include "error.h"
#include "model.h"
#include "onnx_inputs.h"
#include "random.h"
#include "tiny_bundle.h"

using namespace harken;

namespace {

constexpr const char* kFingerprint =
    R"("fingerprint":{"weights_sha256":"a","adapter_sha256":null,"recipe":"tiny","recipe_sha256":"c","front_end":"d","dtype":"float32"})";

template <typename Call>
void check_refused(harken_status status, std::initializer_list<const char*> parts, Call&& call) {
    std::string text = "nothing was refused";
    harken_status got = HARKEN_OK;
    try {
        (void)call();
    } catch (const Error& error) {
        text = error.what();
        got = error.code();
    }
    for (const char* part : parts)
        if (got != status || text.find(part) == std::string::npos) {
            std::fprintf(stderr, "status %d: %s; wanted %d, %s\n", got, text.c_str(), status, part);
            std::exit(1);
        }
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    CHECK(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

void what_is_refused() {
    const TinyBundle tiny;
    write_file(tiny.path() + "/manifest.json", replaced(tiny.manifest(), "{", std::string("{") + kFingerprint + ","));
    const Model model(tiny.path(), 1, 0);
    const TempFolder graphs;
    const std::string manifest = std::string(R"({"format":"harken-export","target":"onnx",)") + kFingerprint +
                                 R"(,"graphs":{"embedder":{"inputs":{},"outputs":["audio_vectors","text_vectors"]}}})";
    const auto runner = [&](const std::string& content, const std::string& library = "") {
        return [&, content, library] {
            write_file(graphs.path() + "/manifest.json", content);
            return make_onnx_runner(model.bundle(), graphs.path(), library, 1);
        };
    };
    check_refused(HARKEN_IO_ERROR, {"manifest.json"},
                  [&] { return make_onnx_runner(model.bundle(), "/nowhere", "", 1); });
    check_refused(HARKEN_FILE_FORMAT_ERROR, {"byte"}, runner("{"));
    check_refused(HARKEN_FILE_FORMAT_ERROR, {"no manifest of an export to ONNX"},
                  runner(replaced(manifest, "onnx", "bundle")));
    check_refused(HARKEN_FILE_FORMAT_ERROR, {"graphs"}, runner(replaced(manifest, "\"graphs\"", "\"other\"")));
    check_refused(HARKEN_FINGERPRINT_ERROR, {"dtype is float16, wanted float32"},
                  runner(replaced(manifest, "float32", "float16")));
    check_refused(HARKEN_FINGERPRINT_ERROR, {"adapter_sha256 is b, wanted none"},
                  runner(replaced(manifest, "null", "\"b\"")));

    check_refused(HARKEN_BACKEND_ERROR, {"/nowhere/libonnxruntime.so.9", "pip install onnxruntime"},
                  runner(manifest, "/nowhere/libonnxruntime.so.9"));
    setenv("HARKEN_ONNXRUNTIME", "/elsewhere/libort.so", 1);
    check_refused(HARKEN_BACKEND_ERROR, {"/elsewhere/libort.so"}, runner(manifest));
    check_refused(HARKEN_BACKEND_ERROR, {"/nowhere/a.so"}, runner(manifest, "/nowhere/a.so"));
    setenv("HARKEN_ONNXRUNTIME", "libm.so.6", 1);
    check_refused(HARKEN_BACKEND_ERROR, {"libm.so.6: has no OrtGetApiBase"}, runner(manifest));
    CHECK(std::string(model.runner_name()) == "harken");
}

TowerConfig config(std::size_t window) {
    TowerConfig tower;
    tower.window = window;
    tower.max_samples = 48000;
    return tower;
}

void whole_clips_are_padded() {
    ThreadPool pool(2);
    const LogMel logmel(mel_spec("whisper-80"));
    Random random;
    const std::vector<float> longer = random.numbers(16 * 160), shorter = random.numbers(3 * 160);
    const TowerInputs inputs = tower_inputs({longer, shorter}, config(0), logmel, pool);
    CHECK(inputs.num_segments == 2 && inputs.num_mels == 80 && inputs.num_frames == 18);
    CHECK(inputs.num_rows == (std::vector<std::int64_t>{18, 5}) &&
          inputs.num_keys == (std::vector<std::int64_t>{8, 2}));
    CHECK(inputs.tokens == (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 9, 10}));
    std::vector<float> rows(5 * 80);
    logmel.compute(shorter, rows.data(), 2, 48000);
    for (std::size_t m = 0; m < 80; ++m)
        for (std::size_t t = 0; t < 18; ++t) CHECK(inputs.mel[(80 + m) * 18 + t] == (t < 5 ? rows[t * 80 + m] : 0.0f));
}

void windows_are_segments() {
    ThreadPool pool(1);
    const LogMel logmel(mel_spec("whisper-80"));
    Random random;
    const std::vector<float> sound = random.numbers(19 * 160);
    const TowerInputs inputs = tower_inputs({sound, sound}, config(8), logmel, pool);
    CHECK(inputs.num_segments == 6 && inputs.num_frames == 8);
    CHECK(inputs.num_rows == (std::vector<std::int64_t>{8, 8, 3, 8, 8, 3}));
    CHECK(inputs.num_keys == (std::vector<std::int64_t>{4, 4, 2, 4, 4, 2}));
    CHECK(inputs.tokens ==
          (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}));
}

void prompts_are_padded() {
    const Prompt heard{{7, 1, 1, 8}, 1, 2, 1, 3}, again{{1, 9}, 0, 1, 0, 1}, said{{5}, 0, 0, 0, 1};
    const PromptInputs both = prompt_inputs({&heard, &again});
    CHECK(both.num_prompts == 2 && both.num_rows == 4);
    CHECK(both.token_ids == (std::vector<std::int64_t>{7, 1, 1, 8, 1, 9, 0, 0}));
    CHECK(both.audio_index == (std::vector<std::int64_t>{-1, 0, 1, -1, 2, -1, -1, -1}));
    CHECK(both.lengths == (std::vector<std::int64_t>{4, 2}) &&
          both.contents == (std::vector<std::int64_t>{1, 3, 0, 1}));
    const PromptInputs one = prompt_inputs({&said});
    CHECK(one.num_rows == 2 && one.token_ids == (std::vector<std::int64_t>{5, 0}) && one.lengths[0] == 1);
}

void padded_batches() {
    using Batches = std::vector<std::vector<std::size_t>>;
    CHECK(plan_batches({10, 10, 10, 9}, 30, true) == (Batches{{0, 1, 2}, {3}}));
    CHECK(plan_batches({10, 7, 4, 7, 4}, 30, true) == (Batches{{0, 1, 3}, {2, 4}}));
    CHECK(plan_batches({50, 50, 1}, 30, true) == (Batches{{0}, {1}, {2}}));
    CHECK(plan_batches({10, 7, 4, 7, 4}, 40) == (Batches{{0, 1, 3, 2, 4}}));
}

}  // namespace

int main() {
    what_is_refused();
    whole_clips_are_padded();
    windows_are_segments();
    prompts_are_padded();
    padded_batches();
}

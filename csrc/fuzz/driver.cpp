// A small coverage-guided fuzzer for compilers without libFuzzer: inputs that reach new code are kept and changed further.
//
//     fuzz_NAME [--seconds S] [--seed N] [--write-seeds FOLDER] [FILE ...]
//
// With files it reads these alone. An input that crashes, takes longer than kMaxSeconds, or asks for an allocation past the
// limit is written to crash-NAME in the working folder. Source: own; the edges are hashed as AFL does.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "fuzz.h"

extern "C" void __sanitizer_set_death_callback(void (*callback)());
extern "C" const char* __asan_default_options() {
    return "max_allocation_size_mb=768:allocator_may_return_null=0:detect_leaks=1";
}

extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace {

constexpr std::size_t kMapSize = 1 << 16, kMaxBytes = 1 << 20;
constexpr double kMaxSeconds = 10;

unsigned char seen[kMapSize];
bool found_new = false;
std::uintptr_t last_place = 0;

std::string program, current;

void write_crash() {
    const std::string name = "crash-" + program;
    write_whole(name, current);
    std::fprintf(stderr, "%s: the input that failed is in %s\n", program.c_str(), name.c_str());
}

void on_signal(int signal) {
    write_crash();
    std::_Exit(128 + signal);
}

void run_one(const std::string& input) {
    current = input;
    found_new = false;
    last_place = 0;
    const auto start = std::chrono::steady_clock::now();
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > kMaxSeconds) {
        std::fprintf(stderr, "%s: an input of %zu bytes took longer than %.0f s\n", program.c_str(), input.size(),
                     kMaxSeconds);
        write_crash();
        std::exit(1);
    }
}

class Mutator {
  public:
    explicit Mutator(std::uint64_t seed) : random_(seed) {}

    std::string change(const std::vector<std::string>& corpus) {
        std::string input = corpus[below(corpus.size())];
        for (std::size_t i = 0; i <= below(6); ++i) change_once(input, corpus);
        if (input.size() > kMaxBytes) input.resize(kMaxBytes);
        return input;
    }

  private:
    std::size_t below(std::size_t n) { return n ? random_() % n : 0; }

    void change_once(std::string& input, const std::vector<std::string>& corpus) {
        static const char* const texts[] = {"-1",
                                            "0",
                                            "9223372036854775807",
                                            "9223372036854775808",
                                            "4294967296",
                                            "1e309",
                                            "null",
                                            "[",
                                            "]",
                                            "{",
                                            "}",
                                            "\"",
                                            "\\u0000",
                                            "\xff",
                                            "[[[[[[[["};
        static const std::uint64_t numbers[] = {0,
                                                1,
                                                7,
                                                0x7f,
                                                0x80,
                                                0xff,
                                                0x7fff,
                                                0x8000,
                                                0xffff,
                                                0x7fffffff,
                                                0x80000000,
                                                0xffffffff,
                                                0x7fffffffffffffff,
                                                0x8000000000000000,
                                                0xffffffffffffffff};
        const std::size_t at = below(input.size() + 1), rest = input.size() - at,
                          length = std::min(rest, 1 + below(16));
        switch (below(9)) {
            case 0:
                if (rest) input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
                break;
            case 1:
                if (rest) input[at] = static_cast<char>(random_());
                break;
            case 2: {
                const std::string number = bytes_of(numbers[below(std::size(numbers))]);
                const std::size_t width = std::min(rest, std::size_t{1} << below(4));
                input.replace(at, width, number.substr(0, width));
                break;
            }
            case 3: input.erase(at, below(2) ? length : rest); break;
            case 4: input.insert(at, input.substr(at, length)); break;
            case 5: input.insert(at, std::string(1 + below(8), static_cast<char>(random_()))); break;
            case 6: {
                const std::string& other = corpus[below(corpus.size())];
                const std::size_t from = below(other.size() + 1);
                input.replace(at, below(2) ? length : rest, other.substr(from, 1 + below(200)));
                break;
            }
            case 7: input.replace(at, below(2) ? length : 0, texts[below(std::size(texts))]); break;
            default:
                // A number of a text becomes another.
                for (std::size_t i = at; i < input.size(); ++i)
                    if (input[i] >= '0' && input[i] <= '9') {
                        std::size_t end = i;
                        while (end < input.size() && input[end] >= '0' && input[end] <= '9') ++end;
                        input.replace(i, end - i, below(2) ? texts[below(6)] : std::to_string(below(1000)));
                        break;
                    }
        }
    }

    std::mt19937_64 random_;
};

int fuzz(double seconds, std::uint64_t seed) {
    std::vector<std::string> corpus = fuzz_seeds();
    corpus.emplace_back();
    for (const std::string& input : std::vector<std::string>(corpus)) run_one(input);
    Mutator mutator(seed);
    const auto start = std::chrono::steady_clock::now();
    std::size_t num_runs = 0;
    while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds) {
        const std::string input = mutator.change(corpus);
        run_one(input);
        ++num_runs;
        if (found_new) corpus.push_back(input);
    }
    std::size_t num_edges = 0;
    for (const unsigned char count : seen) num_edges += count != 0;
    std::printf("%s: %zu inputs, %zu kept, %zu edges\n", program.c_str(), num_runs, corpus.size(), num_edges);
    return 0;
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
    const std::uintptr_t place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
    const std::uintptr_t hashed = (place >> 1) ^ (place >> 17);
    unsigned char& entry = seen[(hashed ^ last_place) % kMapSize];
    if (entry == 0) {
        entry = 1;
        found_new = true;
    }
    last_place = hashed >> 1;
}

int main(int argc, char** argv) {
    program = std::filesystem::path(argv[0]).filename().string();
    double seconds = 60;
    std::uint64_t seed = 1;
    std::vector<std::string> files;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument.starts_with("--") && i + 1 == argc) {
            std::fprintf(stderr, "usage: %s [--seconds S] [--seed N] [--write-seeds FOLDER] [FILE ...]\n", argv[0]);
            return 2;
        }
        if (argument == "--seconds") {
            seconds = std::atof(argv[++i]);
        } else if (argument == "--seed") {
            seed = std::strtoull(argv[++i], nullptr, 10);
        } else if (argument == "--write-seeds") {
            write_seeds(argv[++i]);
            return 0;
        } else {
            files.push_back(argument);
        }
    }
    __sanitizer_set_death_callback(write_crash);
    std::signal(SIGABRT, on_signal);
    for (const std::string& file : files) {
        std::ifstream stream(file, std::ios::binary);
        run_one({std::istreambuf_iterator<char>(stream), {}});
    }
    return files.empty() ? fuzz(seconds, seed) : 0;
}

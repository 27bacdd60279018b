#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "c_common.h"
#include "cpus.h"
#include "index_file.h"
#include "topk.h"
#if defined(HARKEN_WITH_CUDA)
#include "cuda/device_corpus.h"
#endif

struct harken_index {
    explicit harken_index(const char* folder, int num_threads) : file(std::in_place, folder), pool(num_threads) {
        corpus = file->corpus();
        fingerprint = file->fingerprint();
    }
    harken_index(const float* given, std::size_t num_rows, std::size_t dim, int num_threads)
        : rows(given, given + num_rows * dim), pool(num_threads) {
        corpus.rows = rows.data();
        corpus.num_rows = num_rows;
        corpus.width = dim;
    }

    std::optional<harken::IndexFile> file;
    std::vector<float> rows;
    harken::Corpus corpus;
    std::string fingerprint;
    mutable harken::ThreadPool pool;
#if defined(HARKEN_WITH_CUDA)
    std::unique_ptr<harken::cuda::DeviceCorpus> on_device;
#endif
};

using harken::Error;
using harken::guarded;
using harken::require;

extern "C" {

harken_status harken_index_open(const char* folder, uint32_t num_threads, harken_index** index) {
    return guarded([&] {
        require(index, "harken_index_open", "index");
        *index = nullptr;
        require(folder, "harken_index_open", "folder");
        *index = new harken_index(folder, harken::num_threads_of(num_threads));
    });
}

harken_status harken_index_from_rows(const float* rows, size_t num_rows, size_t dim, uint32_t num_threads,
                                     harken_index** index) {
    return guarded([&] {
        require(index, "harken_index_from_rows", "index");
        *index = nullptr;
        if (num_rows > 0) require(rows, "harken_index_from_rows", "rows");
        if (dim < 1 || dim > 65536 || num_rows > SIZE_MAX / sizeof(float) / dim)
            throw Error(HARKEN_INVALID_ARGUMENT, "harken_index_from_rows: got " + std::to_string(num_rows) + " rows of " +
                                                     std::to_string(dim) + "; wanted a dim of 1 to 65536");
        *index = new harken_index(rows, num_rows, dim, harken::num_threads_of(num_threads));
    });
}

harken_status harken_index_to_cuda(harken_index* index, int32_t device) {
    return guarded([&] {
        require(index, "harken_index_to_cuda", "index");
#if defined(HARKEN_WITH_CUDA)
        index->on_device = std::make_unique<harken::cuda::DeviceCorpus>(index->corpus, device);
#else
        throw Error(HARKEN_BACKEND_ERROR, "CUDA device " + std::to_string(device) +
                                              " was asked for; this library was built without CUDA");
#endif
    });
}

void harken_index_free(harken_index* index) { delete index; }
size_t harken_index_num_rows(const harken_index* index) { return index->corpus.num_rows; }
size_t harken_index_dim(const harken_index* index) { return index->corpus.width; }
const char* harken_index_fingerprint(const harken_index* index) { return index->fingerprint.c_str(); }

const char* harken_index_row_name(const harken_index* index, size_t row, size_t* num_bytes) {
    if (num_bytes != nullptr) *num_bytes = 0;
    if (row >= index->corpus.num_rows) return nullptr;
    if (!index->file) return "";
    const std::string_view name = index->file->id(row);
    if (num_bytes != nullptr) *num_bytes = name.size();
    return name.data();
}

harken_status harken_index_check_model(const harken_index* index, const harken_model* model) {
    return guarded([&] {
        require(index, "harken_index_check_model", "index");
        require(model, "harken_index_check_model", "model");
        const std::string fingerprint = harken_model_fingerprint(model);
        if (!index->fingerprint.empty() && index->fingerprint != fingerprint)
            throw Error(HARKEN_FINGERPRINT_ERROR, "the index was made by " + index->fingerprint + ", the model is " +
                                                      fingerprint + "; their vectors cannot be compared");
        if (harken_index_dim(index) != harken_model_dim(model))
            throw Error(HARKEN_INVALID_ARGUMENT, "the index has vectors of " + std::to_string(harken_index_dim(index)) +
                                                     " numbers, the model of " + std::to_string(harken_model_dim(model)));
    });
}

harken_status harken_index_search(const harken_index* index, const float* queries, size_t num_queries, size_t k,
                                  const uint64_t* filter, float* scores, int64_t* rows) {
    return guarded([&] {
        if (num_queries == 0) return;
        require(index, "harken_index_search", "index");
        require(queries, "harken_index_search", "queries");
        // An empty vector's data may be NULL, and what is wrong then is k.
        if (k > 0) {
            require(scores, "harken_index_search", "scores");
            require(rows, "harken_index_search", "rows");
        }
#if defined(HARKEN_WITH_CUDA)
        if (index->on_device) return index->on_device->search(queries, num_queries, k, filter, scores, rows);
#endif
        harken::topk(index->corpus, queries, num_queries, k, filter, scores, rows, index->pool);
    });
}

}  // extern "C"

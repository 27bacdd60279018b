/* libharken: sounds and sentences to vectors of one space, and exact top-K over them.
 *
 *     harken_model* model;
 *     if (harken_model_load("model.bundle", NULL, &model) != HARKEN_OK) puts(harken_last_error());
 *
 * Every function that can fail returns a harken_status; harken_last_error() is the text of the calling thread's last
 * failure. No function throws, exits or prints. Text is UTF-8. Objects are freed by the function that stands with them;
 * freeing NULL does nothing. An object may be used by many threads at once, except while it is being freed.
 */
#ifndef HARKEN_HARKEN_H
#define HARKEN_HARKEN_H

#include <stddef.h>
#include <stdint.h>

#include "harken/version.h"

#if defined(HARKEN_STATIC_LIBRARY)
#define HARKEN_API
#elif defined(_WIN32)
#if defined(HARKEN_BUILDING)
#define HARKEN_API __declspec(dllexport)
#else
#define HARKEN_API __declspec(dllimport)
#endif
#else
#define HARKEN_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---- */

typedef int32_t harken_status;
enum {
    HARKEN_OK = 0,
    HARKEN_INVALID_ARGUMENT = 1,  /* an argument has the wrong size, range or content */
    HARKEN_AUDIO_ERROR = 2,       /* a sound that cannot be embedded: unreadable, empty, not finite, too long */
    HARKEN_MODEL_ERROR = 3,       /* a bundle that cannot be used as it is */
    HARKEN_FILE_FORMAT_ERROR = 4, /* a file that is damaged, truncated or of an unknown version */
    HARKEN_FINGERPRINT_ERROR = 5, /* vectors of different makings were about to be compared */
    HARKEN_IO_ERROR = 6,          /* a file that cannot be opened or read */
    HARKEN_BACKEND_ERROR = 7,     /* a device or instruction set asked for by name is not there */
    HARKEN_OUT_OF_MEMORY = 8,
    HARKEN_INTERNAL_ERROR = 9     /* a mistake of the library's own */
};

/* Version of the library that runs: major << 16 | minor << 8 | patch; compare with HARKEN_VERSION. */
HARKEN_API uint32_t harken_version(void);

/* ABI of the library that runs. A program must have been compiled with an equal HARKEN_ABI_VERSION. */
HARKEN_API uint32_t harken_abi_version(void);

/* Text of this thread's last failure, "" if there was none; valid until its next call. Never NULL. */
HARKEN_API const char* harken_last_error(void);

/* The instruction set in use: "scalar", "avx2" or "avx512". The environment variable HARKEN_CPU_ISA lowers it. */
HARKEN_API const char* harken_cpu_isa(void);

/* Number of CUDA devices that can be used: 0 where there is no driver or the library was built without CUDA. */
HARKEN_API int32_t harken_num_cuda_devices(void);

/* ---- Model ---- */

typedef struct harken_model harken_model;

typedef struct harken_model_options {
    uint32_t struct_size; /* sizeof(harken_model_options), so that later versions may add fields at the end */
    uint32_t num_threads; /* threads a call may use, the caller's own among them; 0: one for each CPU the process may use */
    uint32_t batch_tokens; /* tokens computed at once; more take more memory; 0: 2048 */
    /* A folder of `harken export --to onnx` of the same model in float32, whose graphs ONNX Runtime runs in place of
     * libharken's own code; NULL: libharken. Sounds, tokens and prompts stay libharken's, and the vectors are the same. */
    const char* onnx_folder;
    /* Path of libonnxruntime 1.17 or newer. NULL: the environment variable HARKEN_ONNXRUNTIME, else libonnxruntime.so.1 and
     * libonnxruntime.so where the system finds them. HARKEN_BACKEND_ERROR where there is none. */
    const char* onnxruntime_library;
} harken_model_options;

/* A sound in memory. */
typedef struct harken_clip {
    const float* samples; /* mono, full scale is 1.0 */
    size_t num_samples;
    uint32_t sample_rate_hz; /* any rate from 1 kHz to 768 kHz; brought to the model's */
} harken_clip;

/* Told of each item that cannot be embedded; called on the thread that made the call. */
typedef void (*harken_on_failure)(void* user, size_t item, harken_status status, const char* text);

/* Load a bundle folder, as `harken export --to bundle` writes it. Weights are mapped, not read.
 * options: NULL for the defaults. */
HARKEN_API harken_status harken_model_load(const char* folder, const harken_model_options* options, harken_model** model);
HARKEN_API void harken_model_free(harken_model* model);

/* Length of a vector, the rate sounds are brought to, and what decides what a vector is (12 hex digits). */
HARKEN_API size_t harken_model_dim(const harken_model* model);
HARKEN_API uint32_t harken_model_sample_rate_hz(const harken_model* model);
HARKEN_API const char* harken_model_fingerprint(const harken_model* model);

/* What computes the network: "harken", or another runner's name and version. */
HARKEN_API const char* harken_model_runner(const harken_model* model);

/* Copy the weights to a CUDA device (0, 1, ...), on which sounds and sentences are encoded from then on; features are still
 * computed by the CPU. Calls on the model then take turns, on a stream of its own, and may be made from any thread.
 *
 * Weights of 16 bits are multiplied as such and summed in float32; those of 8 become bfloat16; float32 stays float32. Products are
 * libcublasLt's (13 or 12) where the system finds it, else the library's own, which are slower; harken_model_runner says which.
 *
 * HARKEN_BACKEND_ERROR where there is no such device or the library was built without CUDA, HARKEN_OUT_OF_MEMORY,
 * HARKEN_MODEL_ERROR for attention heads wider than 128: the model then stays where it was. Not while other threads use it. */
HARKEN_API harken_status harken_model_to_cuda(harken_model* model, int32_t device);

/* Vectors of sounds.
 *
 * instruction: for recipes whose prompt takes one; NULL: the recipe's own.
 * vectors: [num_clips, dim] float32 in the order of clips.
 * on_failure: NULL: the first clip that cannot be embedded fails the call. Otherwise it is told of each such clip, whose
 *     row holds NaN, and the call goes on and returns HARKEN_OK. */
HARKEN_API harken_status harken_model_encode_audio(const harken_model* model, const harken_clip* clips, size_t num_clips,
                                                   const char* instruction, float* vectors,
                                                   harken_on_failure on_failure, void* user);

/* Vectors of sound files (WAV, FLAC); arguments as harken_model_encode_audio. */
HARKEN_API harken_status harken_model_encode_files(const harken_model* model, const char* const* paths, size_t num_paths,
                                                   const char* instruction, float* vectors,
                                                   harken_on_failure on_failure, void* user);

/* Vectors of sounds with a text each, for recipes that take both; texts and lengths as harken_model_encode_text, the rest as
 * harken_model_encode_audio. No text may be empty. */
HARKEN_API harken_status harken_model_encode_audio_text(const harken_model* model, const harken_clip* clips,
                                                        const char* const* texts, const size_t* lengths, size_t num_clips,
                                                        const char* instruction, float* vectors,
                                                        harken_on_failure on_failure, void* user);

/* Vectors of sentences, none of them empty.
 *
 * lengths: bytes of each text, or NULL where all end with a zero byte.
 * vectors: [num_texts, dim] float32. */
HARKEN_API harken_status harken_model_encode_text(const harken_model* model, const char* const* texts,
                                                  const size_t* lengths, size_t num_texts, const char* instruction,
                                                  float* vectors);

/* Token ids of a text, without special tokens added.
 *
 * ids: [capacity]; num_ids is how many there are, also where they are more than fit, which fails. */
HARKEN_API harken_status harken_model_tokenize(const harken_model* model, const char* text, size_t num_bytes,
                                               int32_t* ids, size_t capacity, size_t* num_ids);

/* ---- Index ---- */

typedef struct harken_index harken_index;

/* Map an index folder, as harken's Python engine writes it (float32, float16 or int8 vectors). num_threads as above. */
HARKEN_API harken_status harken_index_open(const char* folder, uint32_t num_threads, harken_index** index);

/* An index of vectors in memory, which are copied: [num_rows, dim] float32. Rows have no names. */
HARKEN_API harken_status harken_index_from_rows(const float* rows, size_t num_rows, size_t dim, uint32_t num_threads,
                                                harken_index** index);
HARKEN_API void harken_index_free(harken_index* index);

/* Copy the vectors to a CUDA device (0, 1, ...), on which searches run from then on; HARKEN_BACKEND_ERROR where there is none
 * or the library was built without CUDA. Not while other threads use the index. */
HARKEN_API harken_status harken_index_to_cuda(harken_index* index, int32_t device);

HARKEN_API size_t harken_index_num_rows(const harken_index* index);
HARKEN_API size_t harken_index_dim(const harken_index* index);

/* The fingerprint of the model that made the vectors; "" if it is not known. */
HARKEN_API const char* harken_index_fingerprint(const harken_index* index);

/* The name of a row, num_bytes long and not ended by a zero byte; empty for rows without names, NULL past the last row. */
HARKEN_API const char* harken_index_row_name(const harken_index* index, size_t row, size_t* num_bytes);

/* The k rows with the largest inner product with each query, best first, equal scores by lower row.
 *
 * queries: [num_queries, dim] float32.
 * filter: NULL, or one bit a row, lowest bit first: rows whose bit is 0 are left out.
 * scores, rows: [num_queries, k]; where fewer than k rows are left, the rest is -infinity and -1. */
HARKEN_API harken_status harken_index_search(const harken_index* index, const float* queries, size_t num_queries, size_t k,
                                             const uint64_t* filter, float* scores, int64_t* rows);

/* HARKEN_FINGERPRINT_ERROR where the index was made by another model than this one, whose vectors cannot be compared with
 * it; HARKEN_INVALID_ARGUMENT where the lengths differ. An index of unknown making passes. */
HARKEN_API harken_status harken_index_check_model(const harken_index* index, const harken_model* model);

/* ---- Sounds ---- */

typedef struct harken_sound harken_sound;

/* Read a sound file (WAV, FLAC); several channels are averaged. */
HARKEN_API harken_status harken_sound_read(const char* path, harken_sound** sound);

/* The same of a file in memory; name is what errors call it, and may be NULL. */
HARKEN_API harken_status harken_sound_decode(const void* bytes, size_t num_bytes, const char* name, harken_sound** sound);
HARKEN_API void harken_sound_free(harken_sound* sound);

/* The samples, valid as long as the sound. */
HARKEN_API harken_clip harken_sound_clip(const harken_sound* sound);

#ifdef __cplusplus
}
#endif

#endif

/* What a program with libharken takes in memory: a model, a sentence, a sound of 2 s.
 *     resident BUNDLE [ONNX_FOLDER ONNXRUNTIME_LIBRARY] */
#include <harken/harken.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_HZ = 16000, SECONDS = 2 };

static int failed(void) {
    fprintf(stderr, "resident: %s\n", harken_last_error());
    return 1;
}

int main(int argc, char** argv) {
    static float samples[RATE_HZ * SECONDS];
    const harken_clip clip = {samples, RATE_HZ * SECONDS, RATE_HZ};
    const char* text = "a dog barks";
    harken_model_options options;
    harken_model* model;
    float* vectors;
    char line[256];
    FILE* status;
    int i;
    if (argc != 2 && argc != 4) return 2;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.num_threads = 1;
    if (argc == 4) {
        options.onnx_folder = argv[2];
        options.onnxruntime_library = argv[3];
    }
    for (i = 0; i < RATE_HZ * SECONDS; ++i) samples[i] = (float)(i % 100) / 100.0f - 0.5f;
    if (harken_model_load(argv[1], &options, &model) != HARKEN_OK) return failed();
    vectors = malloc(harken_model_dim(model) * sizeof *vectors);
    if (harken_model_encode_text(model, &text, NULL, 1, NULL, vectors) != HARKEN_OK ||
        harken_model_encode_audio(model, &clip, 1, NULL, vectors, NULL, NULL) != HARKEN_OK)
        return failed();
    status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "VmHWM", 5) == 0 || strncmp(line, "RssAnon", 7) == 0) fputs(line, stdout);
    return 0;
}

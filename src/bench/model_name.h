/* llama.cpp's own name of a model, "llama 7B Q4_K - Medium", for engines that do not tell it. */
#ifndef AN_BENCH_MODEL_NAME_H
#define AN_BENCH_MODEL_NAME_H

#include <stdint.h>

enum { AN_MODEL_NAME_BYTES = 64 };

/*
 * Fills all three from the model at `path`: the name, the bytes of its tensors and the number of its parameters. "" and 0 for a model that
 * arch does not read. A size that llama.cpp has no name for is "?B" there and here.
 */
void an_model_llama_name(const char *path, char name[AN_MODEL_NAME_BYTES], uint64_t *bytes, uint64_t *n_param);

#endif

/*
 * Any source into one GGUF file: weights keep their values wherever a GGUF type holds them exactly, the tokenizer becomes
 * the file's arrays, the configuration its keys.
 */
#ifndef AN_CONVERT_TO_GGUF_H
#define AN_CONVERT_TO_GGUF_H

#include "convert/convert.h"

/*
 * Convert the model `src` to the file `dst`, which must not exist unless `force`. Vectors become F32. With `quantize` matrices
 * get the types of that mix ("Q4_K_M"). Without it GGUF blocks keep their bytes, and MLX groups become the block type that
 * gives the same values (4-bit Q4_0 or Q4_1, 5-bit Q5_0 or Q5_1, 2- and 3-bit Q4_1, 8-bit with the offset of signed codes
 * Q8_0, groups made from Q4_K and Q5_K those); plain floats and groups that have no such type get `dtype`. Memory: two slabs of 8 MiB (or a
 * row), two rows a thread, the mapped pages of one tensor, the vocabulary.
 *
 * ERR_UNSUPPORTED, before anything is written: a matrix that has no exact form while neither `quantize` nor `dtype` says
 * what becomes of it; quantizing what is quantized already without `allow_requantize`; a configuration or a tokenizer that
 * GGUF has no words for. ERR_FORMAT: a weight that is infinite or NaN, by tensor. ERR_INVAL: `dst` exists.
 */
ANEMO_MUST_CHECK anemo_status an_convert_to_gguf(const char *src, const char *dst, const an_convert_options *options,
                                                 an_convert_result *result, anemo_error *err);

#endif

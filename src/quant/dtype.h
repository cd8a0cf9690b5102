/*
 * Element types of tensors as they lie in files, and one view of a weight matrix whatever its container.
 */
#ifndef AN_QUANT_DTYPE_H
#define AN_QUANT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_dtype {
    AN_DTYPE_F32,
    AN_DTYPE_F16,
    AN_DTYPE_BF16,
    AN_DTYPE_Q4_0,
    AN_DTYPE_Q4_1,
    AN_DTYPE_Q5_0,
    AN_DTYPE_Q5_1,
    AN_DTYPE_Q8_0,
    AN_DTYPE_Q2_K,
    AN_DTYPE_Q3_K,
    AN_DTYPE_Q4_K,
    AN_DTYPE_Q5_K,
    AN_DTYPE_Q6_K,
    AN_DTYPE_IQ4_NL,
    AN_DTYPE_IQ4_XS,
    AN_DTYPE_GGML_MXFP4, /* in blocks with their scale; decoded, but made of MLX's form alone */
    AN_DTYPE_AFFINE, /* MLX affine groups: see an_affine */
    AN_DTYPE_MXFP4,  /* MLX's FP modes: see an_affine */
    AN_DTYPE_MXFP8,
    AN_DTYPE_NVFP4,
    AN_DTYPE_U8,     /* from here on: containers' plain types, never a weight matrix of ours */
    AN_DTYPE_I8,
    AN_DTYPE_U16,
    AN_DTYPE_I16,
    AN_DTYPE_U32,
    AN_DTYPE_I32,
    AN_DTYPE_U64,
    AN_DTYPE_I64,
    AN_DTYPE_F64,
    AN_DTYPE_BOOL,
    AN_DTYPE_F8_E4M3,
    AN_DTYPE_F8_E5M2,
    AN_DTYPE_OTHER, /* known by name to its container, of no use to us */
    AN_DTYPE_N
} an_dtype;

typedef struct an_dtype_info {
    const char *name;     /* "Q4_K" */
    int block_elems;      /* elements in one block; 1 for plain types */
    int block_bytes;      /* 0 for MLX's groups and OTHER */
    int ggml_id;          /* GGUF's type id; -1 when it has none */
    bool weight;          /* native can multiply by it */
} an_dtype_info;

/* Static record of a type. */
const an_dtype_info *an_dtype_get(an_dtype type);

/* One of MLX's FP modes. */
static inline bool an_dtype_is_fp_mode(an_dtype type)
{
    return type >= AN_DTYPE_MXFP4 && type <= AN_DTYPE_NVFP4;
}

/* Codes, scales and perhaps biases in tensors of their own, as MLX has them. */
static inline bool an_dtype_is_mlx(an_dtype type)
{
    return type == AN_DTYPE_AFFINE || an_dtype_is_fp_mode(type);
}

/* By GGUF id; false for ids that we do not know as a usable type. */
bool an_dtype_from_ggml(uint32_t id, an_dtype *out);

/* GGUF's name of a type id, for messages ("IQ2_XXS"); NULL when the id means nothing or is retired. */
const char *an_ggml_type_name(uint32_t id);

/*
 * MLX's quantization of one matrix in groups along a row; codes are a little-endian bit stream (formats.md 3.4).
 * AFFINE: w = code * scale + bias. FP modes: w = value * scale, a code is an E2M1 (MXFP4, NVFP4) or E4M3 number (MXFP8), a
 * scale a byte: 2^(b - 127) for MXFP4 and MXFP8, 255 being NaN, and E4M3 for NVFP4.
 */
typedef struct an_affine {
    int bits;             /* 2 3 4 5 6 8; 4 or 8 */
    int group;            /* 32 64 128; 32, NVFP4 16 */
    an_dtype scale_dtype; /* F16 BF16 F32; U8 */
    const void *scales;   /* [n_row, n_col / group]; any alignment */
    const void *biases;   /* same; NULL in FP modes */
} an_affine;

/* How the rows of one attention head are ordered, for q and k projections (formats.md 1.5). */
typedef enum an_rope_rows {
    AN_ROPE_HALF_SPLIT, /* rows i and i + head_dim/2 rotate together: Hugging Face, MLX */
    AN_ROPE_INTERLEAVED, /* rows 2i and 2i+1: GGUF, Mistral's own */
} an_rope_rows;

/* How the bytes of a weight lie in memory. */
typedef enum an_layout {
    AN_LAYOUT_ROWS,   /* as its file has them, row after row */
    AN_LAYOUT_PANELS, /* sixteen rows interleaved for the kernels (kernels/panels.h) */
} an_layout;

/* A weight matrix [n_row, n_col], row-major, borrowed from a file map. n_row = output features. */
typedef struct an_weight {
    an_dtype dtype;
    an_layout layout;
    int64_t n_row, n_col;
    const void *data;   /* any alignment; panels: 64 bytes */
    uint64_t row_bytes; /* of a row in the file, in either layout */
    an_affine affine;   /* when an_dtype_is_mlx(dtype); panels hold the scales and biases, which are NULL then */
} an_weight;

/* Bytes of the data, scales and biases of a weight as its file has them. */
uint64_t an_weight_bytes(const an_weight *w);

/*
 * Decode n elements of row `row` to f32: the exact values that the format means (the reference of every faster
 * path). n_col elements are written. Scalar. The layout is AN_LAYOUT_ROWS.
 */
void an_weight_row_f32(const an_weight *w, int64_t row, float *out);

/* Decode n elements (multiple of the block) of a plain or ggml-block type. */
void an_dequant(an_dtype type, const void *src, float *dst, int64_t n);

/*
 * First block, group or element of the weight whose scale or bias (or value, for float types) is infinite or NaN:
 * returns its row, or -1 when all are finite. Reads every scale, so it is linear in the tensor.
 */
int64_t an_weight_find_nonfinite(const an_weight *w);

#endif

/*
 * Random weights, made as the bytes of their blocks. A tensor is made in cells of 16384 weights; each cell has streams of its
 * own, seeded by the tensor's key and the cell's number, so that any part of a model is made by itself, by any thread, and
 * comes out the same. Codes and scales come from two streams: MLX, which keeps them apart, gets the very weights of GGUF's
 * blocks without making both. Whole-number arithmetic and plain double precision only: the same bytes on every machine.
 */
#ifndef AN_CONVERT_SYNTH_RANDOM_H
#define AN_CONVERT_SYNTH_RANDOM_H

#include "quant/dtype.h"

#include <stdint.h>

enum {
    AN_SYNTH_CELL = 16384,             /* weights */
    AN_SYNTH_CELL_BYTES = 4 * 16384,   /* of the widest type */
    AN_SYNTH_LEVELS = 256,             /* different scales of a tensor */
    AN_SYNTH_QUANTILES = 4096,         /* different magnitudes of plain floats */
};

/* What part of a tensor a container keeps together. */
typedef enum an_synth_part {
    AN_SYNTH_BLOCKS, /* plain floats, or GGUF's blocks */
    AN_SYNTH_CODES,  /* MLX: the codes of affine groups */
    AN_SYNTH_SCALES, /* MLX: one a group */
    AN_SYNTH_BIASES,
    AN_SYNTH_ONES,   /* norms */
} an_synth_part;

/* All that the weights of one type and row length share: their spread is that of a normal variable over sqrt(n_col). */
typedef struct an_synth_form {
    an_dtype dtype;       /* of the blocks; AFFINE for MLX's own widths */
    int bits, group;      /* of the affine form; bits 0 when there is none */
    an_dtype scale_dtype; /* of the affine form */
    int64_t n_col;
    struct {
        uint16_t d, m; /* f16 (bf16 for AFFINE): a scale, and its minimum or affine bias */
    } levels[AN_SYNTH_LEVELS];
    uint32_t quantiles[AN_SYNTH_QUANTILES]; /* of plain floats, as bits of their type */
    uint64_t fifth_bits[256]; /* the bits of a byte where codes of 5 bits have their highest */
} an_synth_form;

/* `dtype` is plain, a GGUF block type, or AFFINE: then bits and group count. */
void an_synth_form_init(an_synth_form *f, an_dtype dtype, int bits, int group, int64_t n_col);

/* The smallest run of weights that has whole bytes in a part, and those bytes; it divides a cell and a row. */
void an_synth_unit(const an_synth_form *f, an_synth_part part, int *elems, int *bytes);

/* One cell of a part: AN_SYNTH_CELL / elems * bytes into `out`, which has AN_SYNTH_CELL_BYTES. */
void an_synth_cell(const an_synth_form *f, an_synth_part part, uint64_t key, uint64_t cell, unsigned char *out);

/* The key of a tensor: its name as GGUF has it (no other container's), and the model's seed. */
uint64_t an_synth_key(const char *gguf_name, uint64_t seed);

#endif

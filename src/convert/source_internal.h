/* The parts of a source that is read without an_model_file: PyTorch files, Mistral's own layout,
 * FP8. */
#ifndef AN_CONVERT_SOURCE_INTERNAL_H
#define AN_CONVERT_SOURCE_INTERNAL_H

#include "convert/source.h"
#include "format/safetensors.h"
#include "format/torch.h"
#include "format/weight_list.h"

/* One tensor of one file. */
typedef struct source_view {
    const char *name;      /* borrowed from its file */
    const char *type_name; /* "BF16" */
    an_dtype dtype;
    int n_dim;
    const int64_t *shape, *stride; /* stride is NULL when the tensor is contiguous */
    const void *data;
    int file; /* index of its file */
} source_view;

/* A part of a tensor: rows row0… and columns col0… of it, in one file. */
typedef struct source_piece {
    an_dtype dtype;
    int64_t row0, col0, n_row, n_col;
    int64_t row_stride, col_stride; /* in elements */
    const unsigned char *data;
    const char *path; /* of the file, borrowed */
} source_piece;

/* What multiplies the codes of an FP8 matrix. */
typedef struct source_scale {
    an_dtype dtype; /* F32, BF16 or F16 */
    const void *data;
    int64_t block_rows, block_cols; /* of values that share a scale */
    int64_t n_col;                  /* scales in a row of blocks */
} source_scale;

struct an_source_form {
    source_scale scale; /* data is NULL when there is none */
    int n_piece;
    source_piece pieces[];
};

typedef struct an_source_files an_source_files;

/*
 * Open the files of a list: safetensors or PyTorch checkpoints, by what is in them and not by their
 * names. `set` made the list, NULL for the parallel parts consolidated.NN.pth, in which every
 * tensor may occur once per file. The list's index is checked against the files. Gives *out:
 * an_source_files_close.
 */
ANEMO_MUST_CHECK anemo_status an_source_files_open(an_source_files **out, const char *dir,
                                                   const an_weight_list *list,
                                                   const an_weight_set *set, anemo_error *err);
void an_source_files_close(an_source_files *files);

size_t an_source_files_n(const an_source_files *files);
/* The tensor of this name (which then counts as used), or its part in the file `file` when the
 * files are parallel parts; false when there is none. */
bool an_source_files_find(an_source_files *files, const char *name, size_t file, source_view *out);
const char *an_source_files_path(const an_source_files *files, int file);
size_t an_source_files_n_name(const an_source_files *files);
const char *an_source_files_name(const an_source_files *files,
                                 size_t i);                        /* in name order; may repeat */
bool an_source_files_used(const an_source_files *files, size_t i); /* was it found by name? */
bool an_source_files_parallel(const an_source_files *files);

/*
 * The tensors of s->params.hp from s->files into s->tensors. `block` is the configured size of FP8
 * blocks, 0 when it is not known. Sets hp.tied.
 */
ANEMO_MUST_CHECK anemo_status an_source_bind(an_source *s, const an_hf_prefix *prefix,
                                             const int64_t block[2], anemo_error *err);

/* Rows of a tensor that has a form; the range was checked. */
ANEMO_MUST_CHECK anemo_status an_source_form_rows(const an_source *s, const an_source_tensor *t,
                                                  int64_t row, int64_t n, float *out,
                                                  anemo_error *err);
/* -1, or the first row with a NaN or an infinity in its scales or values. */
int64_t an_source_form_find_nonfinite(const an_source_tensor *t);
void an_source_form_release(const an_source_tensor *t);

/* Add a sentence to the notes. */
void an_source_note(an_source *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

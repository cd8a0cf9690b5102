/*
 * Where a model's matrices lie while it runs: in the file's map as they are, or laid out once for the kernels
 * (kernels/panels.h), in memory or in a file of their own. docs/native.md says when which is worth it.
 */
#ifndef AN_ENGINE_WEIGHTS_H
#define AN_ENGINE_WEIGHTS_H

#include "arch/model_file.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "os/thread.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum an_weights_layout {
    AN_WEIGHTS_AUTO,     /* asked for only: repacked where that is faster and memory suffices, else mapped */
    AN_WEIGHTS_MAPPED,   /* views into the file's map */
    AN_WEIGHTS_REPACKED, /* panels in memory; the pages of the file go back as they are read */
    AN_WEIGHTS_CACHED,   /* panels in a file of the layout cache, mapped; made when it is not there or stale */
} an_weights_layout;

/* "auto", "mapped", "repacked", "cached". */
const char *an_weights_layout_name(an_weights_layout layout);
bool an_weights_layout_from_name(const char *name, an_weights_layout *out);

/* A sentence for the user: why something was done otherwise, or what takes so long. */
typedef void an_note_fn(void *ctx, const char *text);

typedef struct an_weights_options {
    an_weights_layout layout;
    const char *cache_dir;   /* for CACHED; NULL: "layout" in the user's cache folder */
    const an_kernels *kernels;
    an_compute compute;
    int n_thread;
    bool pin;                /* each thread on a CPU of its own, as the session's will be */
    uint64_t other_bytes;    /* memory that the session is going to take besides */
    an_note_fn *note;        /* may be NULL */
    void *note_ctx;
} an_weights_options;

typedef struct an_weights an_weights;

/*
 * Can products of this level and compute type use panels, and has the model a matrix that has such a form? Bytes that all
 * panels take, 0 for no.
 */
uint64_t an_weights_repacked_bytes(const an_model_file *m, const an_kernels *k, an_compute compute);

/*
 * Lay out the matrices of `m`, which is kept until close. AUTO, and CACHED when the file cannot be made, fall back with a note;
 * REPACKED does not: ERR_INVAL when level, compute type or model have no panels, ERR_NOMEM with need and have.
 * Gives *out: an_weights_close.
 */
ANEMO_MUST_CHECK anemo_status an_weights_open(an_weights **out, const an_model_file *m, const an_weights_options *o,
                                              anemo_error *err);
void an_weights_close(an_weights *w); /* NULL is fine */

/* The model with its matrices where they now are. Valid until close. */
const an_model_file *an_weights_model(const an_weights *w);
an_weights_layout an_weights_effective(const an_weights *w); /* never AUTO */
uint64_t an_weights_memory_bytes(const an_weights *w);       /* of memory that no file backs */

/*
 * Panels that several sessions over one model share: made by the first that wants some, kept until close. Zero-initialise, set
 * `lock`. Any thread.
 */
typedef struct an_weights_shelf {
    an_mutex *lock;
    an_weights *mapped, *panels; /* private */
} an_weights_shelf;

/* As an_weights_open, but the weights are the shelf's: *out is valid until an_weights_shelf_close. */
ANEMO_MUST_CHECK anemo_status an_weights_take(an_weights **out, an_weights_shelf *shelf, const an_model_file *m,
                                              const an_weights_options *o, anemo_error *err);
void an_weights_shelf_close(an_weights_shelf *shelf); /* the lock too */

#endif

/* The matrices of a model that have panels, in the order in which they are laid out; private to engine. */
#ifndef AN_ENGINE_LAYOUT_H
#define AN_ENGINE_LAYOUT_H

#include "arch/model_file.h"
#include "base/error.h"
#include "engine/weights.h"
#include "os/file.h"

#include <stddef.h>
#include <stdint.h>

enum { AN_LAYOUT_ALIGN = 4096 }; /* of every matrix's panels, in memory and in files */

typedef struct an_laid_matrix {
    const an_weight *from;
    size_t place;           /* of the matrix in an_layer_weights, or of the head in an_model_file */
    int layer;              /* -1: the head */
    int stage;              /* matrices of one stage are multiplied together: threads share all their rows */
    uint64_t offset, bytes; /* of the panels from the first one's begin */
} an_laid_matrix;

typedef struct an_layout_list {
    an_laid_matrix *items; /* an_free */
    size_t n;
    uint64_t bytes; /* of all panels */
} an_layout_list;

/* A note for the user, when anybody listens. */
void an_layout_note(const an_weights_options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Rows row_begin..row_end-1 of a weight as a weight of its own. */
an_weight an_layout_rows(const an_weight *w, int64_t row_begin, int64_t row_end);

/*
 * Read all matrices once, on all threads of the pool, each giving back the pages of the file behind it: their panels are written
 * to `block` (list->bytes long, aligned to 64), or with block NULL into `file` from `file_offset` on.
 */
ANEMO_MUST_CHECK anemo_status an_layout_write(const an_layout_list *list, const an_kernels *k, an_pool *pool, void *block,
                                              const an_file_writer *file, uint64_t file_offset, anemo_error *err);

#endif

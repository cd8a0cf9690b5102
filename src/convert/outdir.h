/*
 * A directory that appears whole or not at all: it is made beside its name under a temporary one and takes its place at the
 * end. What killed processes left under such names is removed by the next that writes the same target.
 */
#ifndef AN_CONVERT_OUTDIR_H
#define AN_CONVERT_OUTDIR_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct an_outdir {
    char *dst;    /* the final name */
    char *parent; /* its directory */
    an_str tmp;   /* where the files go until publish */
    bool exists;  /* something of that name is to be replaced */
    bool made;
    char **made_parents; /* directories that were made for it, outermost first */
    size_t n_made_parent;
} an_outdir;

/*
 * May `dst` be written? ERR_INVAL: it exists and `force` is false, or it is no model directory (with `force` only a directory
 * with a config.json and no other directories is replaced). Nothing is made yet. Gives *out: an_outdir_close.
 */
ANEMO_MUST_CHECK anemo_status an_outdir_open(an_outdir *out, const char *dst, bool force, anemo_error *err);

/* Make the temporary directory. ERR_NOSPACE when the file system has less than `bytes` free. */
ANEMO_MUST_CHECK anemo_status an_outdir_make(an_outdir *o, uint64_t bytes, anemo_error *err);

/* Put it in the target's place; an old one goes last. The files in it are on the disk already. */
ANEMO_MUST_CHECK anemo_status an_outdir_publish(an_outdir *o, anemo_error *err);

/*
 * Without publish everything that was made is removed. When `status` is an error and that fails, the message says what is left.
 */
void an_outdir_close(an_outdir *o, anemo_status status, anemo_error *err);

#endif

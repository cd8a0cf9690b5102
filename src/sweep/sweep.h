/*
 * A grid of cells measured unattended: plan file to cells, what it will take, running it with a commit for each
 * finished cell, and the same cells as tasks of a cluster. docs/sweep.md describes plan, manifest and result files.
 *
 * A *unit* is one cell in one block: what is measured at a time, committed at a time and given to a task at a time.
 * Units are numbered from 0; each block holds every cell once, in a random order of its own.
 */
#ifndef AN_SWEEP_SWEEP_H
#define AN_SWEEP_SWEEP_H

#include "base/error.h"
#include "base/str.h"
#include "drivers/driver.h"
#include "record/run.h"
#include "store/store.h"
#include "sweep/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_sweep {
    char id[32];           /* "sweep-" and 16 digits of the manifest's SHA-256: same plan on the same files, same id */
    an_str manifest;       /* JSON lines: a head, then one line a cell */
    an_run run;            /* kind "sweep": models and cells, all of them pending at first */
    an_settings *settings; /* [run.n_cell]; their words are static */
    char *name, *url;      /* url may be NULL */
    size_t *at; /* [run.n_cell]: where the plan's cell lies in run.cells; the database may have another order */
    int n_rep, n_warmup, n_block;
    double delay_s, timeout_s;
    uint64_t seed; /* of the cells' order and of the random prompt ids */
    double memory_share;
    uint64_t memory_bytes, disk_reserve_bytes;
    bool probes;
    size_t n_unread;    /* combinations left out because the engine does not read that kind of file */
    size_t n_ruled_out; /* combinations that the rules leave out */
} an_sweep;

/* The path of a model that a plan names; an_free. The command line's own way to look for models. */
typedef anemo_status (*an_sweep_find)(const char *name, char **path, anemo_error *err);

/* The cells of a plan. ERR_INVAL for a grid without cells, ERR_NOTFOUND for a model. Gives *out: an_sweep_free. */
ANEMO_MUST_CHECK anemo_status an_sweep_build(an_sweep *out, const an_plan *plan, const char *name, an_sweep_find find,
                                             anemo_error *err);
/* A plan file to cells; n_block above 0 in place of its own. */
ANEMO_MUST_CHECK anemo_status an_sweep_open_plan(an_sweep *out, const char *path, int n_block, an_sweep_find find,
                                                 anemo_error *err);
/* The bytes of a manifest back to cells. Models are not looked at. ERR_FORMAT. */
ANEMO_MUST_CHECK anemo_status an_sweep_parse_manifest(an_sweep *out, const char *text, size_t n, const char *name,
                                                      anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_sweep_open_manifest(an_sweep *out, const char *path, anemo_error *err);
void an_sweep_free(an_sweep *s);

size_t an_sweep_n_unit(const an_sweep *s);
/* The cells of one block in the order of their units: order[run.n_cell]. */
void an_sweep_block_order(const an_sweep *s, int block, size_t *order);

/* ---- what it will take: estimate.c */

typedef enum an_basis {
    AN_BASIS_UNKNOWN, /* neither results nor a model's figures: left out of the sum */
    AN_BASIS_SAME,    /* earlier repetitions of the same cell */
    AN_BASIS_LIKE,    /* other work of the same engine and model, scaled */
    AN_BASIS_MODEL,   /* the model's bytes and operations, and the measured peaks of this machine */
    AN_BASIS_N
} an_basis;

typedef struct an_sweep_estimate {
    double seconds;                /* of what is not finished yet */
    size_t n_by_basis[AN_BASIS_N]; /* cells */
    uint64_t memory_limit_bytes;   /* what a cell may take; 0 = not known */
    uint64_t memory_available_bytes;
    uint64_t largest_bytes; /* of the largest cell */
    size_t largest_cell;
    size_t n_too_large;  /* cells that will be skipped */
    uint64_t disk_bytes; /* results, roughly */
    uint64_t disk_free_bytes;
    double peak_bandwidth_bps, peak_flops; /* NaN when not measured */
} an_sweep_estimate;

/* Weights, KV cache and what an engine needs besides; 0 when the model's size is not known. */
uint64_t an_sweep_cell_bytes(const an_sweep *s, size_t cell);
/* What the plan lets a cell have of the memory that is available now; 0 = not known. */
uint64_t an_sweep_memory_limit(const an_sweep *s);

/* store may be NULL (no results yet). `dir` lies on the file system of the results. Measures the machine's peaks for a
 * second when results do not say enough. */
ANEMO_MUST_CHECK anemo_status an_sweep_estimate_make(const an_sweep *s, an_store *store, const char *dir,
                                                     an_sweep_estimate *out, anemo_error *err);

/* ---- running: run.c, task.c */

typedef struct an_sweep_options {
    const char *dir;     /* logs and locks: made when absent */
    bool restart;        /* begin anew beside what is there */
    bool retry_failed;   /* failed, missing and skipped cells once more */
    const char *command; /* for the result; may be NULL */
    const char *power_cmd;
    const volatile int *stop;
    void (*progress)(void *ctx, const char *what); /* one short line; may be NULL */
    void *progress_ctx;
} an_sweep_options;

/* Where a sweep stands, in cells. */
typedef struct an_sweep_tally {
    size_t n_cell, n_ok, n_failed, n_missing, n_skipped, n_pending;
    size_t n_unit_done, n_unit; /* units whose repetitions are all there, or that will not come */
} an_sweep_tally;
void an_sweep_count(const an_sweep *s, const an_run *run, an_sweep_tally *out);

/*
 * Measure every unit that the database does not hold yet; each is committed before the next begins. The same call goes
 * on after any end. ERR_BUSY when another process runs this sweep, ERR_NOSPACE when the disk is full or the reserve of
 * the plan is touched, ERR_INTERRUPTED after o->stop. On success s->run is the whole result.
 */
ANEMO_MUST_CHECK anemo_status an_sweep_run(an_sweep *s, an_store *store, const an_sweep_options *o, anemo_error *err);

/* The sweep as the database has it: its newest start. ERR_NOTFOUND when it was never begun. Gives *run: an_run_free. */
ANEMO_MUST_CHECK anemo_status an_sweep_stored(const an_sweep *s, an_store *store, an_run *run, anemo_error *err);

/*
 * One unit into the result file dir/<id>.<unit>.json (a run of one cell in the form of anemo.run/1), by temporary file
 * and rename. *done: the file was there already, or another process works on the unit, and nothing was done. *result is
 * the unit's status; PENDING when another process has it.
 */
ANEMO_MUST_CHECK anemo_status an_sweep_run_unit(an_sweep *s, size_t unit, const char *dir, const an_sweep_options *o,
                                                bool *done, an_cell_status *result, anemo_error *err);
/* All units of a folder that are not done and that no other process works on: any number of processes share the work.
 */
ANEMO_MUST_CHECK anemo_status an_sweep_run_folder(an_sweep *s, const char *dir, const an_sweep_options *o,
                                                  anemo_error *err);
/* What a folder of result files holds of the sweep. */
ANEMO_MUST_CHECK anemo_status an_sweep_count_folder(const an_sweep *s, const char *dir, an_sweep_tally *out,
                                                    anemo_error *err);

/* ---- Slurm: slurm.c */

typedef struct an_slurm_job {
    const char *anemo, *manifest, *dir, *partition; /* partition may be NULL */
    char *const *extra;                             /* further arguments of sbatch, word for word */
    size_t n_extra;
    size_t n_task, n_parallel; /* n_parallel 0: as many as the cluster runs */
    size_t per_task;           /* units of one task */
    bool shared_node;          /* bound cores of a node that others use too, instead of the whole node */
    int n_thread;              /* the most that a cell asks for */
    const char *id;
} an_slurm_job;

/* The batch script. Nothing in it that comes from a plan or a path is read by the shell. */
void an_slurm_script(const an_slurm_job *job, an_str *out);
/* sbatch's arguments. Gives a NULL-terminated list: an_argv_free. */
ANEMO_MUST_CHECK anemo_status an_slurm_arguments(const an_slurm_job *job, const char *script, char ***argv,
                                                 anemo_error *err);
/* Append text so that a POSIX shell takes it for one word, whatever it holds. */
void an_shell_quote(an_str *out, const char *text);

#endif

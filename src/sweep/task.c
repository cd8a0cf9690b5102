/* Units as tasks: each gives a file of its own, so that any number of machines can work on a sweep without a database.
 */
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "bench/environment.h"
#include "os/file.h"
#include "os/lock.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { RESULT_MAX = 1 << 28 };

static anemo_status no_memory(anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

/* dir/<id>.<unit>.json; an_free. */
static char *result_path(const an_sweep *s, const char *dir, size_t unit)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%06zu.json", s->id, unit);
    return an_path_join(dir, name);
}

static anemo_status find_unit(const an_sweep *s, size_t unit, int *block, size_t *cell, anemo_error *err)
{
    if (unit >= an_sweep_n_unit(s))
        return an_fail(err, ANEMO_ERR_INVAL, "there is no unit %zu: %s has %zu, from 0", unit, s->id,
                       an_sweep_n_unit(s));
    size_t *order = an_calloc(s->run.n_cell, sizeof *order);
    if (!order) return no_memory(err);
    *block = (int)(unit / s->run.n_cell);
    an_sweep_block_order(s, *block, order);
    *cell = order[unit % s->run.n_cell];
    an_free(order);
    return ANEMO_OK;
}

/* The status in a result file; PENDING when there is none or it is not whole (a copy that was cut). */
static an_cell_status stored_status(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    json_t *doc = NULL;
    an_run run;
    an_cell_status found = AN_CELL_PENDING;
    if (an_file_read(path, RESULT_MAX, &text, &n, NULL) == ANEMO_OK &&
        an_json_parse(&doc, text, n, path, NULL) == ANEMO_OK && an_run_from_json(&run, doc, path, NULL) == ANEMO_OK) {
        if (run.n_cell > 0) found = run.cells[0].status;
        an_run_free(&run);
    }
    json_decref(doc);
    an_free(text);
    return found;
}

/* A run of the one cell with the sweep's id and all its models, so that indices mean the same in every file. */
static anemo_status make_run(const an_sweep *s, size_t cell, size_t unit, const an_sweep_options *o, an_run *out,
                             anemo_error *err)
{
    anemo_status status;
    an_environment here = {0};
    an_run run;
    json_t *doc = an_run_head_json(&s->run), *cells = json_array(),
           *one = an_cell_json(&s->run, &s->run.cells[cell], true);
    bool ok = doc && one && json_array_append_new(cells, one) == 0 && json_object_set(doc, "cells", cells) == 0;
    status = ok ? an_run_from_json(&run, doc, s->id, err) : no_memory(err);
    if (!ok && one && json_array_size(cells) == 0) json_decref(one);
    json_decref(cells);
    json_decref(doc);
    if (status != ANEMO_OK) return status;
    an_environment_read(&here);
    an_environment_free(&run.environment);
    run.environment = here;
    an_free(run.command);
    run.command = an_strdup(o->command);
    run.extra = json_pack("{s:{s:I, s:I, s:I, s:I}}", "sweep", "unit", (json_int_t)unit, "cell", (json_int_t)cell,
                          "n_cell", (json_int_t)s->run.n_cell, "n_unit", (json_int_t)an_sweep_n_unit(s));
    if ((o->command && !run.command) || !run.extra) {
        an_run_free(&run);
        return no_memory(err);
    }
    *out = run;
    return ANEMO_OK;
}

static anemo_status write_run(const an_run *run, const char *path, anemo_error *err)
{
    an_str text = {0};
    anemo_status status = an_json_write(an_run_json(run), JSON_COMPACT, &text, err);
    an_str_append_char(&text, '\n');
    if (status == ANEMO_OK) status = an_str_check(&text, err);
    if (status == ANEMO_OK) status = an_file_write(path, text.data, text.len, err);
    an_str_free(&text);
    return status;
}

static anemo_status measure_unit(an_sweep *s, size_t unit, const char *path, const an_sweep_options *o,
                                 an_cell_status *result, anemo_error *err)
{
    anemo_status status;
    int block = 0;
    size_t cell = 0;
    int64_t next_order = 0;
    an_run run;
    an_meter *meter = NULL;
    an_run_init(&run);
    AN_TRY(find_unit(s, unit, &block, &cell, err));
    AN_TRY(make_run(s, cell, unit, o, &run, err));
    next_order = (int64_t)unit * 1000000; /* so that units of one machine keep their order when they are joined */
    AN_TRY(an_sweep_open_meter(s, o, &meter, err));
    if (s->probes) {
        an_meter_peaks(meter, &run.environment);
        an_meter_peaks_with(meter, s->settings[cell].threads, &run.environment);
    }
    AN_TRY(an_sweep_measure(s, &run, 0, cell, block, meter, o, &next_order, err));
    if (o->stop && *o->stop) {
        status = an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted in unit %zu, which has to be measured again", unit);
        goto cleanup;
    }
    /* One block of several leaves a cell open; for its file it is over. */
    if (run.cells[0].status == AN_CELL_PENDING) run.cells[0].status = AN_CELL_OK;
    *result = run.cells[0].status;
    AN_TRY(write_run(&run, path, err));
cleanup:
    an_meter_close(meter);
    an_run_free(&run);
    return status;
}

/* Byte `unit` of one lock file is the lock of that unit: nothing has to be cleaned up afterwards. */
static anemo_status open_locks(const an_sweep *s, const char *dir, int *fd, char **path, anemo_error *err)
{
    anemo_status status;
    char name[48];
    snprintf(name, sizeof name, "%s.lock", s->id);
    *path = an_path_join(dir, name);
    if (!*path) return no_memory(err);
    AN_TRY(an_dir_make(dir, err));
    AN_TRY(an_lock_open(fd, *path, err));
cleanup:
    return status;
}

/* *result PENDING: another process has the unit. */
static anemo_status run_locked(an_sweep *s, size_t unit, const char *dir, int lock_fd, const char *lock_path,
                               const an_sweep_options *o, bool *done, an_cell_status *result, anemo_error *err)
{
    bool taken = false;
    char *path = result_path(s, dir, unit);
    if (!path) return no_memory(err);
    *done = true;
    *result = stored_status(path);
    bool again = o->retry_failed && *result != AN_CELL_OK;
    anemo_status status = ANEMO_OK;
    if (*result != AN_CELL_PENDING && !again && !o->restart) goto cleanup;
    AN_TRY(an_lock_try(lock_fd, lock_path, unit, &taken, err));
    if (!taken) goto cleanup;
    /* It may have been finished between the look and the lock. */
    an_cell_status now = again || o->restart ? AN_CELL_PENDING : stored_status(path);
    if (now == AN_CELL_PENDING) {
        AN_TRY(an_sweep_check_disk(s, dir, err));
        AN_TRY(measure_unit(s, unit, path, o, &now, err));
        *done = false;
    }
    *result = now;
cleanup:
    if (taken) an_lock_release(lock_fd, unit);
    an_free(path);
    return status;
}

anemo_status an_sweep_run_unit(an_sweep *s, size_t unit, const char *dir, const an_sweep_options *o, bool *done,
                               an_cell_status *result, anemo_error *err)
{
    anemo_status status;
    char *path = NULL;
    int fd = -1;
    if (unit >= an_sweep_n_unit(s))
        return an_fail(err, ANEMO_ERR_INVAL, "there is no unit %zu: %s has %zu, from 0", unit, s->id,
                       an_sweep_n_unit(s));
    AN_TRY(open_locks(s, dir, &fd, &path, err));
    AN_TRY(run_locked(s, unit, dir, fd, path, o, done, result, err));
cleanup:
    an_fd_close(&fd);
    an_free(path);
    return status;
}

anemo_status an_sweep_run_folder(an_sweep *s, const char *dir, const an_sweep_options *o, anemo_error *err)
{
    anemo_status status;
    char *path = NULL, line[200];
    int fd = -1;
    AN_TRY(open_locks(s, dir, &fd, &path, err));
    for (size_t unit = 0; unit < an_sweep_n_unit(s); unit++) {
        bool done;
        an_cell_status result;
        if (o->stop && *o->stop) {
            status = an_fail(err, ANEMO_ERR_INTERRUPTED,
                             "interrupted before unit %zu of %zu; the same command goes on from there", unit,
                             an_sweep_n_unit(s));
            goto cleanup;
        }
        AN_TRY(run_locked(s, unit, dir, fd, path, o, &done, &result, err));
        if (done || !o->progress) continue;
        snprintf(line, sizeof line, "%zu/%zu %s", unit + 1, an_sweep_n_unit(s), an_cell_status_name(result));
        o->progress(o->progress_ctx, line);
    }
cleanup:
    an_fd_close(&fd);
    an_free(path);
    return status;
}

anemo_status an_sweep_count_folder(const an_sweep *s, const char *dir, an_sweep_tally *out, anemo_error *err)
{
    size_t n = s->run.n_cell, *order = an_calloc(n, sizeof *order);
    unsigned char *worst = an_calloc(n, 1); /* status of each cell: the first that is not ok, PENDING over all */
    anemo_status status = order && worst ? ANEMO_OK : no_memory(err);
    *out = (an_sweep_tally){.n_cell = n, .n_unit = an_sweep_n_unit(s)};
    for (size_t unit = 0; status == ANEMO_OK && unit < out->n_unit; unit++) {
        if (unit % n == 0) an_sweep_block_order(s, (int)(unit / n), order);
        char *path = result_path(s, dir, unit);
        an_cell_status found = path ? stored_status(path) : AN_CELL_PENDING;
        if (!path) status = no_memory(err);
        an_free(path);
        unsigned char *cell = &worst[order[unit % n]];
        out->n_unit_done += found != AN_CELL_PENDING;
        if (*cell == AN_CELL_OK || found == AN_CELL_PENDING) *cell = (unsigned char)found;
    }
    for (size_t i = 0; status == ANEMO_OK && i < n; i++) {
        out->n_ok += worst[i] == AN_CELL_OK;
        out->n_failed += worst[i] == AN_CELL_FAILED;
        out->n_missing += worst[i] == AN_CELL_MISSING;
        out->n_skipped += worst[i] == AN_CELL_SKIPPED;
        out->n_pending += worst[i] == AN_CELL_PENDING;
    }
    an_free(order);
    an_free(worst);
    return status;
}

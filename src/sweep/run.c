/* Running a sweep into the database: one unit after the other, each committed before the next. */
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "bench/cell_run.h"
#include "bench/environment.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/lock.h"
#include "os/process.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is done */

/* Timed repetitions of one block: their block numbers are block x n_rep and on. */
static int n_in_block(const an_sweep *s, const an_cell *c, int block)
{
    int n = 0;
    for (size_t i = 0; i < c->n_rep; i++)
        n += c->reps[i].kind == AN_REP_TIMED && c->reps[i].block >= 0 && c->reps[i].block / s->n_rep == block;
    return n;
}

/* A failed, missing or skipped cell is over. One that is called ok may still lack blocks: result files are joined one
 * by one. */
static bool unit_done(const an_sweep *s, const an_cell *c, int block)
{
    return (c->status != AN_CELL_PENDING && c->status != AN_CELL_OK) || n_in_block(s, c, block) >= s->n_rep;
}

void an_sweep_count(const an_sweep *s, const an_run *run, an_sweep_tally *out)
{
    *out = (an_sweep_tally){.n_cell = run->n_cell, .n_unit = an_sweep_n_unit(s)};
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *c = &run->cells[i];
        out->n_ok += c->status == AN_CELL_OK;
        out->n_failed += c->status == AN_CELL_FAILED;
        out->n_missing += c->status == AN_CELL_MISSING;
        out->n_skipped += c->status == AN_CELL_SKIPPED;
        out->n_pending += c->status == AN_CELL_PENDING;
        for (int b = 0; b < s->n_block; b++)
            out->n_unit_done += unit_done(s, c, b);
    }
}

/* ---- the sweep in the database */

/*
 * A sweep that was begun anew is "<id>-2", "<id>-3": the newest one's id, "" when there is none. *next is the id of
 * another start.
 */
static anemo_status find_stored(const an_sweep *s, an_store *store, char id[32], char next[32], anemo_error *err)
{
    an_store_row *rows = NULL;
    size_t n = 0, len = strlen(s->id);
    int64_t newest = 0;
    an_store_filter filter = {.kind = "sweep"};
    anemo_status status = an_store_list(store, &filter, &rows, &n, err);
    if (status != ANEMO_OK) return status;
    for (size_t i = 0; i < n; i++) {
        int64_t number = 1;
        if (strncmp(rows[i].id, s->id, len) != 0) continue;
        if (rows[i].id[len] != '\0' && (rows[i].id[len] != '-' || !an_parse_i64(rows[i].id + len + 1, &number)))
            continue;
        if (number > newest) newest = number;
    }
    an_store_rows_free(rows, n);
    id[0] = '\0';
    if (newest == 1) snprintf(id, 32, "%s", s->id);
    if (newest > 1) snprintf(id, 32, "%s-%" PRId64, s->id, newest);
    if (newest == 0)
        snprintf(next, 32, "%s", s->id);
    else
        snprintf(next, 32, "%s-%" PRId64, s->id, newest + 1);
    return ANEMO_OK;
}

typedef struct keyed {
    const char *key;
    size_t at;
} keyed;

static int compare_keyed(const void *a, const void *b)
{
    return strcmp(((const keyed *)a)->key, ((const keyed *)b)->key);
}

/* A pending copy of one of the plan's cells at the end of run. */
static anemo_status append_cell(an_run *run, const an_sweep *s, size_t cell, anemo_error *err)
{
    json_t *doc = an_cell_json(&s->run, &s->run.cells[cell], true);
    an_cell *added = doc ? an_run_add_cell(run) : NULL;
    anemo_status status = added ? an_cell_from_json(added, doc, (int)run->n_model, s->id, err)
                                : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    json_decref(doc);
    return status;
}

anemo_status an_sweep_match(const an_sweep *s, an_run *run, size_t *at, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n = run->n_cell;
    keyed *list = an_calloc(n + 1, sizeof *list);
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    /* Cells move when one is added, so the keys are ours to keep still: the plan has the same. */
    for (size_t i = 0; i < n; i++)
        list[i] = (keyed){.key = run->cells[i].key, .at = i};
    qsort(list, n, sizeof *list, compare_keyed);
    size_t n_missing = 0;
    for (size_t i = 0; i < s->run.n_cell; i++) {
        keyed want = {.key = s->run.cells[i].key};
        const keyed *found = n ? bsearch(&want, list, n, sizeof *list, compare_keyed) : NULL;
        at[i] = found ? found->at : n + n_missing++;
    }
    an_free(list);
    for (size_t i = 0; i < s->run.n_cell && n_missing; i++)
        if (at[i] >= n) AN_TRY(append_cell(run, s, i, err));
cleanup:
    return status;
}

anemo_status an_sweep_stored(const an_sweep *s, an_store *store, an_run *run, anemo_error *err)
{
    char id[32], next[32];
    anemo_status status = find_stored(s, store, id, next, err);
    if (status != ANEMO_OK) return status;
    if (!id[0])
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s (%s) was not begun in %s", s->name, s->id, an_store_path(store));
    return an_store_get(store, id, run, err);
}

/* ---- one session */

typedef struct session {
    an_sweep *s;
    an_store *store;
    const an_sweep_options *o;
    an_meter *meter;
    char *lock_path;
    int lock_fd, log_fd, err_fd;
    int64_t next_order;
} session;

static bool stopped(const session *x)
{
    return x->o->stop && *x->o->stop;
}

/* A line of the log, with the time. A log that cannot be written is no reason to lose measurements. */
static void log_line(const session *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void log_line(const session *x, const char *fmt, ...)
{
    char date[21];
    an_str line = {0};
    va_list ap;
    an_clock_rfc3339(an_clock_realtime_ns(), date);
    an_str_appendf(&line, "%s ", date);
    size_t begin = line.len;
    va_start(ap, fmt);
    an_str_vappendf(&line, fmt, ap);
    va_end(ap);
    for (char *p = line.data; p && *p; p++)
        if (*p == '\n') *p = ' ';
    if (x->o->progress && !line.failed) x->o->progress(x->o->progress_ctx, line.data + begin);
    an_str_append_char(&line, '\n');
    if (!line.failed) (void)!an_fd_write(x->log_fd, line.data, line.len, NULL);
    an_str_free(&line);
}

static void log_stderr(const session *x, const an_cell *c, size_t cell)
{
    char date[21];
    an_str text = {0};
    if (!c->stderr_tail || !c->stderr_tail[0]) return;
    an_clock_rfc3339(an_clock_realtime_ns(), date);
    an_str_appendf(&text, "==> %s cell %zu: %s\n%s%s", date, cell, c->label, c->stderr_tail,
                   an_str_ends_with(c->stderr_tail, "\n") ? "" : "\n");
    if (!text.failed) (void)!an_fd_write(x->err_fd, text.data, text.len, NULL);
    an_str_free(&text);
}

static anemo_status open_file(const char *dir, const char *name,
                              anemo_status (*open)(int *, const char *, anemo_error *), int *fd, anemo_error *err)
{
    char *path = an_path_join(dir, name);
    anemo_status status = path ? open(fd, path, err) : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_free(path);
    return status;
}

/* Only one process may run a sweep: two would measure each other. */
static anemo_status take_lock(session *x, anemo_error *err)
{
    anemo_status status;
    bool taken = false;
    char note[64];
    x->lock_path = an_path_join(x->o->dir, "lock");
    if (!x->lock_path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_lock_open(&x->lock_fd, x->lock_path, err));
    AN_TRY(an_lock_try(x->lock_fd, x->lock_path, 0, &taken, err));
    if (!taken) {
        an_lock_read_note(x->lock_fd, note, sizeof note);
        note[strcspn(note, "\n")] = '\0';
        status = an_fail(
            err, ANEMO_ERR_BUSY,
            "%s is running already (process %s); its log is %s/progress.log. Wait for it, or stop it with Ctrl-C and "
            "start this command again",
            x->s->id, note[0] ? note : "unknown", x->o->dir);
        goto cleanup;
    }
    int n = snprintf(note, sizeof note, "%" PRId64 "\n", an_process_self());
    status = an_lock_note(x->lock_fd, x->lock_path, note, (size_t)n, err);
cleanup:
    return status;
}

static anemo_status open_session(session *x, anemo_error *err)
{
    anemo_status status;
    AN_TRY(an_dir_make(x->o->dir, err));
    AN_TRY(take_lock(x, err));
    AN_TRY(open_file(x->o->dir, "progress.log", an_append_open, &x->log_fd, err));
    AN_TRY(open_file(x->o->dir, "workers.log", an_append_open, &x->err_fd, err));
    char *path = an_path_join(x->o->dir, "manifest.jsonl");
    status = path ? an_file_write(path, x->s->manifest.data, x->s->manifest.len, err)
                  : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_free(path);
    if (status != ANEMO_OK) goto cleanup;
    AN_TRY(an_sweep_open_meter(x->s, x->o, &x->meter, err));
cleanup:
    return status;
}

static void close_session(session *x)
{
    an_meter_close(x->meter);
    an_free(x->lock_path);
    an_fd_close(&x->log_fd);
    an_fd_close(&x->err_fd);
    an_fd_close(&x->lock_fd);
}

anemo_status an_sweep_open_meter(const an_sweep *s, const an_sweep_options *o, an_meter **meter, anemo_error *err)
{
    int n_thread = 1;
    for (size_t i = 0; i < s->run.n_cell; i++)
        if (s->settings[i].threads > n_thread) n_thread = s->settings[i].threads;
    an_meter_options options = {.n_thread = n_thread < an_cpu_usable() ? n_thread : an_cpu_usable(),
                                .bandwidth = s->probes,
                                .power_cmd = o->power_cmd,
                                .n_cpu = an_cpu_online()};
    return an_meter_open(meter, &options, err);
}

/* Take up what the database has, or begin there. */
static anemo_status take_up(session *x, anemo_error *err)
{
    anemo_status status;
    an_sweep *s = x->s;
    char id[32], next[32];
    AN_TRY(find_stored(s, x->store, id, next, err));
    if (id[0] && !x->o->restart) {
        an_run stored;
        AN_TRY(an_sweep_stored(s, x->store, &stored, err));
        status = an_sweep_match(s, &stored, s->at, err);
        if (status != ANEMO_OK) {
            an_run_free(&stored);
            goto cleanup;
        }
        an_run_free(&s->run);
        s->run = stored;
        for (size_t i = 0; i < s->run.n_cell; i++)
            for (size_t k = 0; k < s->run.cells[i].n_rep; k++)
                if (s->run.cells[i].reps[k].order >= x->next_order) x->next_order = s->run.cells[i].reps[k].order + 1;
        goto cleanup;
    }
    snprintf(s->run.id, sizeof s->run.id, "%s", next);
    an_environment_read(&s->run.environment);
    if (s->probes) {
        an_meter_peaks(x->meter, &s->run.environment);
        for (size_t i = 0; i < s->run.n_cell; i++)
            an_meter_peaks_with(x->meter, s->settings[i].threads, &s->run.environment);
    }
    an_free(s->run.command);
    s->run.command = an_strdup(x->o->command);
    if (x->o->command && !s->run.command) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_store_begin(x->store, &s->run, err));
cleanup:
    return status;
}

static void retry_failed(session *x)
{
    for (size_t i = 0; i < x->s->run.n_cell; i++) {
        an_cell *c = &x->s->run.cells[i];
        if (c->status != AN_CELL_FAILED && c->status != AN_CELL_MISSING && c->status != AN_CELL_SKIPPED) continue;
        c->status = AN_CELL_PENDING;
        an_free(c->reason);
        c->reason = NULL;
    }
}

/* Sets the cell's status to SKIPPED with the figures when it does not fit. */
static anemo_status check_memory(const an_sweep *s, size_t cell, an_cell *c, anemo_error *err)
{
    uint64_t need = an_sweep_cell_bytes(s, cell), limit = an_sweep_memory_limit(s);
    if (!limit || need <= limit) return ANEMO_OK;
    an_str reason = {0};
    an_str_appendf(&reason,
                   "does not fit in memory: it needs about %.2f GB (%.2f GB of them the model) and may have %.2f GB of "
                   "the %.2f GB "
                   "that are available; free some, or raise 'memory' in [machine]",
                   (double)need / 1e9, (double)s->run.models[c->model].bytes / 1e9, (double)limit / 1e9,
                   (double)an_mem_available_bytes() / 1e9);
    an_free(c->reason);
    c->reason = an_str_take(&reason);
    c->status = AN_CELL_SKIPPED;
    return c->reason ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

anemo_status an_sweep_check_disk(const an_sweep *s, const char *dir, anemo_error *err)
{
    uint64_t there = an_path_free_bytes(dir);
    if (there >= s->disk_reserve_bytes) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_NOSPACE,
                   "%s: %.1f MB are free on this disk and the plan keeps %.1f MB (disk_reserve in [machine])", dir,
                   (double)there / 1e6, (double)s->disk_reserve_bytes / 1e6);
}

/* Seconds of measuring until the newest record: what a sweep that is taken up again counts on from. */
static double last_start(const an_run *run)
{
    double last = 0;
    for (size_t i = 0; i < run->n_cell; i++)
        for (size_t k = 0; k < run->cells[i].n_rep; k++)
            if (run->cells[i].reps[k].start_s > last) last = run->cells[i].reps[k].start_s;
    return last;
}

/* A stop that comes between repetitions, so that the one that runs is finished and kept. */
typedef struct late_stop {
    const volatile int *asked; /* may be NULL */
    volatile int now;
} late_stop;

static anemo_status pass_stop(void *ctx, anemo_error *err)
{
    late_stop *stop = ctx;
    (void)err;
    if (stop->asked && *stop->asked) stop->now = 1;
    return ANEMO_OK;
}

anemo_status an_sweep_measure(const an_sweep *s, an_run *run, size_t at, size_t cell, int block, an_meter *meter,
                              const an_sweep_options *o, int64_t *next_order, anemo_error *err)
{
    anemo_status status;
    an_cell *c = &run->cells[at];
    int have = n_in_block(s, c, block);
    size_t before = c->n_rep;
    late_stop stop = {.asked = o->stop};
    an_cell_job job = {
        .engine = an_engine_find(c->engine),
        .settings = s->settings[cell],
        .n_rep = s->n_rep - have,
        .n_warmup = s->n_warmup,
        .block = -1, /* given below, when it is known how many came */
        .delay_s = s->delay_s,
        .url = s->url,
        .seed = s->seed,
        .timeout_ns = (uint64_t)(s->timeout_s * 1e9),
        .begin_ns = an_clock_ns() - (uint64_t)(last_start(run) * 1e9),
        .meter = meter,
        .stop = &stop.now,
        .rep_done = pass_stop,
        .rep_done_ctx = &stop,
    };
    if (!job.engine) return an_fail(err, ANEMO_ERR_UNSUPPORTED, "this anemo has no engine '%s'", c->engine);
    AN_TRY(check_memory(s, cell, c, err));
    if (c->status == AN_CELL_SKIPPED) goto cleanup;
    status = an_cell_run(&job, run, at, NULL, err);
    run->interrupted = false; /* of the whole sweep that is said at its end */
    if (status != ANEMO_OK) goto cleanup;
    for (size_t i = before; i < c->n_rep; i++) {
        c->reps[i].order = (*next_order)++;
        if (c->reps[i].kind == AN_REP_TIMED) c->reps[i].block = block * s->n_rep + have++;
    }
    /* A cell is over when all its blocks are; until then each unit's repetitions say what is done. */
    bool all = true;
    for (int b = 0; b < s->n_block && all; b++)
        all = n_in_block(s, c, b) >= s->n_rep;
    if (c->status == AN_CELL_OK || c->status == AN_CELL_PENDING) c->status = all ? AN_CELL_OK : AN_CELL_PENDING;
cleanup:
    return status;
}

/* "decode 12.3 tokens/s" of the newest repetition. */
static void speed_text(const an_cell *c, char *out, size_t cap)
{
    static const an_field_id fields[] = {AN_FIELD_ID_step_tps, AN_FIELD_ID_decode_tps, AN_FIELD_ID_prefill_tps};
    out[0] = '\0';
    for (size_t i = 0; i < AN_COUNT_OF(fields) && c->n_rep > 0; i++) {
        double v = c->reps[c->n_rep - 1].values[fields[i]];
        if (!isfinite(v)) continue;
        snprintf(out, cap, ", %s %.2f tokens/s", an_field_get(fields[i])->title, v);
        return;
    }
}

static anemo_status run_unit(session *x, size_t unit, int block, size_t cell, anemo_error *err)
{
    anemo_status status;
    an_sweep *s = x->s;
    size_t at = s->at[cell];
    an_cell *c = &s->run.cells[at];
    size_t before = c->n_rep;
    char work[64], speed[80];
    uint64_t begin = an_clock_ns();
    an_work_label(&c->work, work, sizeof work);
    if (x->o->progress) {
        char line[240];
        snprintf(line, sizeof line, "%zu/%zu %s %s", unit + 1, an_sweep_n_unit(s), c->label, work);
        x->o->progress(x->o->progress_ctx, line);
    }
    AN_TRY(an_sweep_check_disk(s, x->o->dir, err));
    AN_TRY(an_sweep_measure(s, &s->run, at, cell, block, x->meter, x->o, &x->next_order, err));
    log_stderr(x, c, cell);
    status = an_store_put_cell(x->store, &s->run, at, err);
    if (status != ANEMO_OK) {
        /* What is not in the database is not done. */
        while (c->n_rep > before)
            an_rep_free(&c->reps[--c->n_rep]);
        c->status = AN_CELL_PENDING;
        goto cleanup;
    }
    speed_text(c, speed, sizeof speed);
    log_line(x, "unit %zu/%zu, cell %zu, block %d, %s %s: %s, %zu records%s, %.2f s%s%s", unit + 1, an_sweep_n_unit(s),
             cell, block + 1, c->label, work,
             c->status == AN_CELL_PENDING && unit_done(s, c, block) ? "ok" : an_cell_status_name(c->status),
             c->n_rep - before, speed, (double)(an_clock_ns() - begin) * 1e-9, c->reason ? ": " : "",
             c->reason ? c->reason : "");
cleanup:
    return status;
}

static anemo_status run_units(session *x, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_sweep *s = x->s;
    size_t unit = 0, *order = an_calloc(s->run.n_cell, sizeof *order);
    if (!order) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int block = 0; block < s->n_block; block++) {
        an_sweep_block_order(s, block, order);
        for (size_t i = 0; i < s->run.n_cell; i++, unit++) {
            if (unit_done(s, &s->run.cells[s->at[order[i]]], block)) continue;
            if (stopped(x)) goto cleanup;
            AN_TRY(run_unit(x, unit, block, order[i], err));
        }
    }
cleanup:
    an_free(order);
    return status;
}

anemo_status an_sweep_run(an_sweep *s, an_store *store, const an_sweep_options *o, anemo_error *err)
{
    anemo_status status;
    session x = {.s = s, .store = store, .o = o, .lock_fd = -1, .log_fd = -1, .err_fd = -1};
    an_sweep_tally tally = {0};
    AN_TRY(open_session(&x, err));
    AN_TRY(take_up(&x, err));
    if (o->retry_failed) retry_failed(&x);
    an_sweep_count(s, &s->run, &tally);
    log_line(&x, "%s: %s, %zu of %zu units are done", s->run.id, tally.n_unit_done ? "going on" : "begin",
             tally.n_unit_done, tally.n_unit);
    status = run_units(&x, err);
    an_sweep_count(s, &s->run, &tally);
    if (status != ANEMO_OK) {
        log_line(&x, "stopped after %zu of %zu units: %s", tally.n_unit_done, tally.n_unit, err ? err->message : "");
        status = an_fail_prefix(err, status, "stopped with %zu of %zu units done; the same command goes on from there",
                                tally.n_unit_done, tally.n_unit);
        goto cleanup;
    }
    s->run.interrupted = tally.n_unit_done < tally.n_unit;
    if (s->run.interrupted) {
        log_line(&x, "interrupted: %zu of %zu units are done", tally.n_unit_done, tally.n_unit);
        status = an_fail(err, ANEMO_ERR_INTERRUPTED,
                         "interrupted with %zu of %zu units done; the same command goes on from there",
                         tally.n_unit_done, tally.n_unit);
        goto cleanup;
    }
    s->run.n_block = s->n_block * s->n_rep;
    snprintf(s->run.stop_reason, sizeof s->run.stop_reason, "blocks");
    AN_TRY(an_store_finish(store, &s->run, err));
    log_line(&x, "%s: complete: %zu cells ok, %zu failed, %zu missing, %zu skipped", s->run.id, tally.n_ok,
             tally.n_failed, tally.n_missing, tally.n_skipped);
cleanup:
    close_session(&x);
    return status;
}

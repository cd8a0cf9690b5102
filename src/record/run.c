/* A run in memory: making, growing, freeing, identity of its cells. */
#include "record/run.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/str.h"

#include <limits.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *an_cell_status_name(an_cell_status s)
{
    static const char *const names[AN_CELL_STATUS_N] = {"ok", "failed", "missing", "skipped", "pending"};
    return names[s];
}

void an_work_label(const an_work *w, char *out, size_t cap)
{
    char head[48], depth[24] = "";
    if (w->n_prompt > 0 && w->n_gen > 0)
        snprintf(head, sizeof head, "pp%d+tg%d", w->n_prompt, w->n_gen);
    else if (w->n_gen > 0)
        snprintf(head, sizeof head, "tg%d", w->n_gen);
    else
        snprintf(head, sizeof head, "pp%d", w->n_prompt);
    if (w->n_depth > 0) snprintf(depth, sizeof depth, " @ d%d", w->n_depth);
    snprintf(out, cap, "%s%s", head, depth);
}

void an_run_init(an_run *run)
{
    *run = (an_run){.aa_noise = NAN, .precision = 0.01, .margin = 0.01};
    run->environment.load_average = -1;
    run->environment.peak_bandwidth_bps = run->environment.peak_flops = NAN;
}

static void free_cell(an_cell *cell)
{
    for (size_t i = 0; i < cell->n_rep; i++) an_rep_free(&cell->reps[i]);
    an_free(cell->reps);
    an_free(cell->reason);
    an_free(cell->tokenization_note);
    an_free(cell->stderr_tail);
    json_decref(cell->settings);
    json_decref(cell->effective);
    json_decref(cell->missing);
}

void an_run_free(an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++) free_cell(&run->cells[i]);
    for (size_t i = 0; i < run->n_model; i++) {
        an_free(run->models[i].name);
        an_free(run->models[i].path);
        an_free(run->models[i].read_by);
    }
    an_free(run->cells);
    an_free(run->models);
    an_free(run->agreements);
    an_free(run->command);
    an_free(run->note);
    an_free(run->refused);
    json_decref(run->tags);
    json_decref(run->workload);
    json_decref(run->extra);
    an_environment_free(&run->environment);
    an_run_init(run);
}

void an_run_new_id(uint64_t realtime_ns, uint64_t random, char out[32])
{
    time_t t = (time_t)(realtime_ns / 1000000000u);
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, 32, "%Y%m%d-%H%M%S", &tm);
    snprintf(out + n, 32 - n, "-%04x", (unsigned)(random & 0xffff));
}

int an_cell_threads(const an_cell *cell)
{
    const json_t *n = json_object_get(cell->effective, "threads");
    if (!json_is_integer(n)) n = json_object_get(cell->settings, "threads");
    json_int_t threads = json_integer_value(n);
    return threads > 0 && threads <= INT_MAX ? (int)threads : 0;
}

an_cell *an_run_add_cell(an_run *run)
{
    /* Room grows at powers of two: a sweep has thousands of cells. */
    if ((run->n_cell & (run->n_cell - 1)) == 0) {
        an_cell *cells = an_realloc(run->cells, (run->n_cell ? 2 * run->n_cell : 1) * sizeof *cells);
        if (!cells) return NULL;
        run->cells = cells;
    }
    an_cell *cell = &run->cells[run->n_cell++];
    *cell = (an_cell){.model = -1, .copy_of = -1, .check = {.repeated_4grams = NAN, .same_every_rep = true}};
    return cell;
}

an_run_model *an_run_add_model(an_run *run)
{
    an_run_model *models = an_realloc(run->models, (run->n_model + 1) * sizeof *models);
    if (!models) return NULL;
    run->models = models;
    an_run_model *m = &models[run->n_model++];
    *m = (an_run_model){0};
    return m;
}

anemo_status an_cell_add_rep(an_cell *cell, an_rep *rep, anemo_error *err)
{
    if (cell->n_rep == cell->cap_rep) {
        size_t cap = cell->cap_rep ? 2 * cell->cap_rep : 8;
        an_rep *reps = an_realloc(cell->reps, cap * sizeof *reps);
        if (!reps) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        cell->reps = reps;
        cell->cap_rep = cap;
    }
    cell->reps[cell->n_rep++] = *rep;
    an_rep_init(rep);
    return ANEMO_OK;
}

anemo_status an_cell_make_key(const an_run *run, an_cell *cell, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    const an_run_model *m = cell->model < 0 ? NULL : &run->models[cell->model];
    /* A model is its weights where their digest is known, else its name and size. */
    char size[24];
    snprintf(size, sizeof size, "%" PRIu64, m ? m->bytes : 0);
    json_t *obj = json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:i, s:O?}", "engine", cell->engine, "model",
                            m && m->sha256[0] ? m->sha256 : m && m->name ? m->name : "", "bytes",
                            m && !m->sha256[0] ? size : "", "stock", cell->stock, "work", (int)cell->work.kind,
                            "n_prompt", cell->work.n_prompt, "n_gen", cell->work.n_gen, "n_depth",
                            cell->work.n_depth, "settings", cell->settings);
    AN_TRY(an_json_write(obj, JSON_COMPACT | JSON_SORT_KEYS, &text, err));
    if (!an_sha256_hex(text.data, text.len, cell->key))
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_str_free(&text);
    return status;
}

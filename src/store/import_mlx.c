/*
 * What mlx_lm.benchmark prints: a line "Timing with prompt_tokens=16, generation_tokens=8, batch_size=1.", then a line
 * "Trial 1:  prompt_tps=…, generation_tps=…, peak_memory=…, total_time=…" for each trial, then "Averages: …". Lines of
 * other kinds (warnings, progress, a shell's prompt) stand between them and are passed over.
 */
#include "store/import_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct block {
    int n_prompt, n_gen;
    an_cell *cell; /* NULL before the first "Timing with" */
    size_t n_trial;
    bool averaged; /* its last line was seen */
} block;

static bool begins(const an_lines *in, const char *head)
{
    size_t n = strlen(head);
    return in->n >= n && !memcmp(in->line, head, n);
}

/*
 * The number behind "key=" in the line. Three ways: it is there (1), it is not (0), what stands there is no number above 0 (-1).
 */
static int find_value(const an_lines *in, const char *key, double *out)
{
    size_t n_key = strlen(key);
    for (size_t i = 0; i + n_key < in->n; i++) {
        if (memcmp(in->line + i, key, n_key) || in->line[i + n_key] != '=' || (i && in->line[i - 1] != ' ')) continue;
        const char *from = in->line + i + n_key + 1, *end = in->line + in->n;
        char text[40];
        size_t n = 0;
        while (from + n < end && n + 1 < sizeof text && from[n] != ',' && from[n] != ' ') {
            text[n] = from[n];
            n++;
        }
        if (n && from + n == end && text[n - 1] == '.') n--; /* the full stop of the line */
        text[n] = '\0';
        return an_parse_f64(text, out) && *out > 0 ? 1 : -1;
    }
    return 0;
}

static anemo_status need_value(const an_importing *to, const an_lines *in, const char *key, double *out, anemo_error *err)
{
    int found = find_value(in, key, out);
    if (found == 1) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu: %s", to->name, in->number,
                   found ? "a figure is no number above 0" : "a figure is missing; mlx_lm.benchmark prints prompt_tokens, "
                                                             "generation_tokens and batch_size, then prompt_tps, generation_tps "
                                                             "and total_time");
}

static anemo_status need_count(const an_importing *to, const an_lines *in, const char *key, int *out, anemo_error *err)
{
    anemo_status status;
    double x = 0;
    AN_TRY(need_value(to, in, key, &x, err));
    if (x != floor(x) || x > 1e9)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu: %s must be a whole number of at most 10^9", to->name, in->number, key);
    *out = (int)x;
cleanup:
    return status;
}

/* "--model X" or "--model=X" of a command line that was kept with its output. Gives *model, or leaves it. */
static anemo_status find_model(const an_lines *in, char **model, anemo_error *err)
{
    static const char option[] = "--model";
    size_t n_option = sizeof option - 1;
    for (size_t i = 0; i + n_option + 1 < in->n; i++) {
        if (memcmp(in->line + i, option, n_option) || !strchr("= ", in->line[i + n_option])) continue;
        const char *from = in->line + i + n_option + 1;
        size_t left = in->n - i - n_option - 1, n = 0;
        while (n < left && n < 4096 && from[n] != ' ' && from[n]) n++;
        if (n == 0) return ANEMO_OK;
        an_free(*model);
        *model = an_strndup(from, n);
        return *model ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    return ANEMO_OK;
}

/* The tool does not name the model: a command line above its output does, or the name that the file was given. */
static anemo_status set_model(const an_importing *to, an_run *run, const char *model, anemo_error *err)
{
    an_run_model *m = an_run_add_model(run);
    const char *base = strrchr(to->name, '/');
    base = base ? base + 1 : to->name;
    const char *dot = strrchr(base, '.');
    size_t n = dot && dot > base ? (size_t)(dot - base) : strlen(base);
    if (m) {
        m->name = model ? an_strdup(model) : an_strndup(base, n);
        memcpy(m->container, "mlx", sizeof "mlx");
    }
    return m && m->name ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
}

static anemo_status begin_run(an_importing *to, const char *model, anemo_error *err)
{
    an_run *run = an_importing_add(to);
    if (!run) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
    snprintf(run->id, sizeof run->id, "mlx-%.16s", to->digest);
    run->workload = json_pack("{s:s}", "imported_from", "mlx_lm.benchmark");
    run->extra = json_pack("{s:s,s:[]}", "source", "mlx_lm.benchmark", "rows");
    if (!run->workload || !run->extra) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
    return set_model(to, run, model, err);
}

/* Is what came before whole? */
static anemo_status end_block(const an_importing *to, const block *b, size_t line, anemo_error *err)
{
    if (!b->cell || b->n_trial) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu: no 'Trial' line follows 'Timing with': the benchmark did not get to its "
                                          "first trial",
                   to->name, line);
}

static anemo_status begin_block(an_importing *to, const an_lines *in, block *b, anemo_error *err)
{
    anemo_status status;
    int n_batch;
    *b = (block){0};
    AN_TRY(need_count(to, in, "prompt_tokens", &b->n_prompt, err));
    AN_TRY(need_count(to, in, "generation_tokens", &b->n_gen, err));
    AN_TRY(need_count(to, in, "batch_size", &n_batch, err));
    if (n_batch != 1)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: line %zu: batch_size=%d: its figures are sums over the sequences, for which anemo has no metric; "
                       "only batch size 1 can be imported",
                       to->name, in->number, n_batch);
    if (++to->n_cell > AN_IMPORT_CELLS_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu: more than %d measurements; split the file", to->name, in->number,
                       AN_IMPORT_CELLS_MAX);
    an_run *run = &to->runs[to->n - 1];
    an_cell *cell = an_run_add_cell(run);
    if (!cell) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
    snprintf(cell->engine, sizeof cell->engine, "mlx-lm");
    snprintf(cell->label, sizeof cell->label, "mlx-lm");
    cell->model = 0;
    cell->status = AN_CELL_OK;
    cell->work = (an_work){.kind = AN_WORK_GENERATE, .n_prompt = b->n_prompt, .n_gen = b->n_gen};
    cell->settings = json_object();
    b->cell = cell;
    if (!cell->settings || json_array_append_new(json_object_get(run->extra, "rows"), json_pack("{s:[]}", "peak_memory_gb")) != 0)
        return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
    AN_TRY(an_cell_make_key(run, cell, err));
cleanup:
    return status;
}

/*
 * Its prompt figure is n / time of the first id, as ours. Its generation figure counts n ids over the n - 1 gaps behind the
 * first: that is decode_n_tps, from which the figure over n - 1 follows.
 */
static anemo_status add_trial(an_importing *to, const an_lines *in, block *b, anemo_error *err)
{
    anemo_status status;
    double prompt_tps = NAN, generation_tps = NAN, total = NAN, memory = NAN;
    an_rep rep;
    an_rep_init(&rep);
    if (!b->cell || b->averaged) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu: a 'Trial' line without 'Timing with' before it; keep the whole "
                                                "output of mlx_lm.benchmark",
                         to->name, in->number);
        goto cleanup;
    }
    AN_TRY(need_value(to, in, "prompt_tps", &prompt_tps, err));
    AN_TRY(need_value(to, in, "generation_tps", &generation_tps, err));
    if (find_value(in, "total_time", &total) < 0 || find_value(in, "peak_memory", &memory) < 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu: a figure is no number above 0", to->name, in->number);
        goto cleanup;
    }
    rep.values[AN_FIELD_ID_n_prompt] = b->n_prompt;
    rep.values[AN_FIELD_ID_n_generated] = b->n_gen;
    rep.values[AN_FIELD_ID_n_depth] = 0;
    rep.values[AN_FIELD_ID_prefill_tps] = prompt_tps;
    rep.values[AN_FIELD_ID_ttft_s] = b->n_prompt / prompt_tps;
    if (b->n_gen >= 2) {
        rep.values[AN_FIELD_ID_decode_n_tps] = generation_tps;
        rep.values[AN_FIELD_ID_decode_tps] = generation_tps * (b->n_gen - 1) / b->n_gen;
    }
    rep.values[AN_FIELD_ID_total_s] = total;
    snprintf(rep.stop_reason, sizeof rep.stop_reason, "length");
    an_run *run = &to->runs[to->n - 1];
    AN_TRY(an_import_add_rep(to, run, b->cell, &rep, err));
    b->n_trial++;
    json_t *row = json_array_get(json_object_get(run->extra, "rows"), run->n_cell - 1);
    if (json_array_append_new(json_object_get(row, "peak_memory_gb"), an_json_real(memory)) != 0)
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
cleanup:
    an_rep_free(&rep);
    return status;
}

anemo_status an_import_mlx(an_importing *to, const char *text, size_t n, anemo_error *err)
{
    anemo_status status;
    an_lines in = {.at = text, .end = text + n};
    block b = {0};
    char *model = NULL;
    bool more;
    for (;;) {
        AN_TRY(an_import_line(&in, to->name, &more, err));
        if (!more) break;
        if (begins(&in, "Timing with ")) {
            if (to->n == 0) AN_TRY(begin_run(to, model, err));
            AN_TRY(end_block(to, &b, in.number, err));
            AN_TRY(begin_block(to, &in, &b, err));
        } else if (begins(&in, "Trial ")) {
            AN_TRY(add_trial(to, &in, &b, err));
        } else if (begins(&in, "Averages: ")) {
            b.averaged = b.cell != NULL;
        } else if (to->n == 0) {
            AN_TRY(find_model(&in, &model, err));
        }
    }
    AN_TRY(end_block(to, &b, in.number, err));
    if (!b.averaged) to->runs[to->n - 1].interrupted = true;
cleanup:
    an_free(model);
    return status;
}

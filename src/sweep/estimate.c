/* What a sweep will take: memory of each cell, time from earlier results or from the model's bytes, disk. */
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "bench/probe.h"
#include "os/cpu.h"
#include "os/file.h"

#include <math.h>
#include <string.h>

/* Besides weights and KV cache: interpreters, libraries, activations. */
static const uint64_t ENGINE_BYTES = 300u << 20;
/* Loading, starting the process and warming up, when nothing is known of them. */
static const double START_S = 2;
/* Of a peak, what engines reach on average: for a first guess only. */
static const double SHARE_OF_PEAK = 0.5;
enum { HISTORY_RUNS = 50 };

/* Bytes of 32 values of the KV cache. */
static uint64_t kv_block_bytes(const char *type)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } types[] = {{"f32", 128}, {"q8_0", 34}, {"q5_1", 24}, {"q5_0", 22}, {"q4_1", 20}, {"q4_0", 18}, {"iq4_nl", 18}};
    for (size_t i = 0; i < AN_COUNT_OF(types); i++)
        if (!strcmp(type, types[i].name)) return types[i].bytes;
    return 64;
}

uint64_t an_sweep_cell_bytes(const an_sweep *s, size_t cell)
{
    const an_cell *c = &s->run.cells[cell];
    if (c->model < 0) return 0;
    const an_run_model *m = &s->run.models[c->model];
    const an_settings *o = &s->settings[cell];
    uint64_t kv = m->kv_values_per_pos / 32 * (uint64_t)o->n_ctx * kv_block_bytes(o->kv_type);
    return m->bytes ? m->bytes + kv + ENGINE_BYTES : 0;
}

uint64_t an_sweep_memory_limit(const an_sweep *s)
{
    if (s->memory_bytes) return s->memory_bytes;
    return (uint64_t)((double)an_mem_available_bytes() * s->memory_share);
}

/* Medians of a stored cell, as far as they help. */
typedef struct past {
    char key[65], engine[32];
    char *model; /* owned */
    an_work_kind kind;
    int threads;
    double total_s, prefill_tps, decode_tps;
} past;

typedef struct history {
    past *items;
    size_t n;
} history;

static double median(const an_cell *c, an_field_id field)
{
    an_summary s = an_cell_summary(c, field);
    return s.n ? s.median : NAN;
}

static anemo_status add_past(history *h, const an_run *run, const an_cell *c, anemo_error *err)
{
    if (an_cell_n_timed(c) == 0 || c->model < 0) return ANEMO_OK;
    if ((h->n & (h->n - 1)) == 0) {
        past *bigger = an_realloc(h->items, (h->n ? 2 * h->n : 1) * sizeof *bigger);
        if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        h->items = bigger;
    }
    past *p = &h->items[h->n];
    *p = (past){.model = an_strdup(run->models[c->model].name), .kind = c->work.kind};
    if (run->models[c->model].name && !p->model) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    h->n++;
    memcpy(p->key, c->key, sizeof p->key);
    memcpy(p->engine, c->engine, sizeof p->engine);
    p->threads = (int)json_integer_value(json_object_get(c->settings, "threads"));
    p->total_s = median(c, AN_FIELD_ID_total_s);
    p->prefill_tps = median(c, AN_FIELD_ID_prefill_tps);
    p->decode_tps = median(c, AN_FIELD_ID_decode_tps);
    return ANEMO_OK;
}

/* The newest runs; what cannot be read is left out, for an estimate is not worth an end. */
static anemo_status read_history(history *h, an_store *store, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_store_row *rows = NULL;
    size_t n = 0;
    an_store_filter filter = {.limit = HISTORY_RUNS};
    if (an_store_list(store, &filter, &rows, &n, NULL) != ANEMO_OK) return ANEMO_OK;
    for (size_t i = 0; i < n; i++) {
        an_run run;
        if (an_store_get(store, rows[i].id, &run, NULL) != ANEMO_OK) continue;
        for (size_t c = 0; c < run.n_cell && status == ANEMO_OK; c++)
            status = add_past(h, &run, &run.cells[c], err);
        an_run_free(&run);
        if (status != ANEMO_OK) break;
    }
    an_store_rows_free(rows, n);
    return status;
}

static void free_history(history *h)
{
    for (size_t i = 0; i < h->n; i++)
        an_free(h->items[i].model);
    an_free(h->items);
}

/* Seconds of n_prompt and n_gen tokens at these speeds; NaN when a speed that is needed is not known. */
static double work_seconds(const an_work *w, double prefill_tps, double decode_tps)
{
    double n_prompt = (double)w->n_prompt + w->n_depth;
    return (n_prompt > 0 ? n_prompt / prefill_tps : 0) + (w->n_gen > 0 ? w->n_gen / decode_tps : 0);
}

static double from_history(const history *h, const an_sweep *s, size_t cell, an_basis *basis)
{
    const an_cell *c = &s->run.cells[cell];
    const char *model = c->model < 0 ? "" : s->run.models[c->model].name;
    double like = NAN;
    for (size_t i = 0; i < h->n; i++) {
        const past *p = &h->items[i];
        if (!strcmp(p->key, c->key) && p->total_s >= 0) {
            *basis = AN_BASIS_SAME;
            return p->total_s;
        }
        if (isfinite(like) || strcmp(p->engine, c->engine) || !p->model || strcmp(p->model, model) ||
            p->kind != c->work.kind)
            continue;
        double seconds = work_seconds(&c->work, p->prefill_tps, p->decode_tps);
        /* More threads are not always faster; that fewer are slower is the safe side. */
        if (p->threads > s->settings[cell].threads) seconds *= (double)p->threads / s->settings[cell].threads;
        if (seconds >= 0) like = seconds;
    }
    *basis = isfinite(like) ? AN_BASIS_LIKE : AN_BASIS_UNKNOWN;
    return like;
}

static double from_model(const an_sweep *s, size_t cell, const an_sweep_estimate *e)
{
    const an_cell *c = &s->run.cells[cell];
    if (c->model < 0) return NAN;
    const an_run_model *m = &s->run.models[c->model];
    double flop = m->flop_per_token;
    if (!m->weight_bytes || !(e->peak_bandwidth_bps > 0) || !(e->peak_flops > 0)) return NAN;
    double share =
        SHARE_OF_PEAK *
        (s->settings[cell].threads < an_cpu_usable() ? (double)s->settings[cell].threads / an_cpu_usable() : 1);
    return work_seconds(&c->work, share * e->peak_flops / flop,
                        share * e->peak_bandwidth_bps / (double)m->weight_bytes);
}

/* Peaks with all usable CPUs; left unknown when the probe has no memory. */
static void measure_peaks(an_sweep_estimate *e)
{
    an_probe *probe;
    if (an_probe_open(&probe, an_cpu_usable(), NULL) != ANEMO_OK) return;
    e->peak_bandwidth_bps = an_probe_peak_bandwidth(probe);
    e->peak_flops = an_probe_peak_ops(probe, AN_PROBE_F32);
    an_probe_close(probe);
}

/* Bytes that a repetition takes in the database: its fields, and id and time of each token as text. */
static uint64_t rep_bytes(const an_work *w)
{
    return 1500 + (w->kind == AN_WORK_GENERATE ? (uint64_t)w->n_gen * 30 : 0);
}

static void estimate_memory(const an_sweep *s, an_sweep_estimate *e)
{
    e->memory_available_bytes = an_mem_available_bytes();
    e->memory_limit_bytes = an_sweep_memory_limit(s);
    for (size_t i = 0; i < s->run.n_cell; i++) {
        uint64_t need = an_sweep_cell_bytes(s, i);
        if (e->memory_limit_bytes && need > e->memory_limit_bytes) e->n_too_large++;
        if (need <= e->largest_bytes) continue;
        e->largest_bytes = need;
        e->largest_cell = i;
    }
}

anemo_status an_sweep_estimate_make(const an_sweep *s, an_store *store, const char *dir, an_sweep_estimate *out,
                                    anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    history h = {0};
    an_run stored = {0};
    an_sweep_estimate e = {.peak_bandwidth_bps = NAN, .peak_flops = NAN};
    bool probed = false, begun = false;
    size_t *at = an_calloc(s->run.n_cell, sizeof *at);
    an_run_init(&stored);
    if (!at) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (store) {
        AN_TRY(read_history(&h, store, err));
        begun = an_sweep_stored(s, store, &stored, NULL) == ANEMO_OK;
        if (begun) AN_TRY(an_sweep_match(s, &stored, at, err));
    }
    estimate_memory(s, &e);
    for (size_t i = 0; i < s->run.n_cell; i++) {
        an_basis basis = AN_BASIS_UNKNOWN;
        const an_cell *c = &s->run.cells[i], *old = begun ? &stored.cells[at[i]] : NULL;
        size_t n_rep = (size_t)s->n_rep * (size_t)s->n_block, n_old = old ? an_cell_n_timed(old) : 0;
        bool over = old && old->status != AN_CELL_PENDING && (old->status != AN_CELL_OK || n_old >= n_rep);
        if (over || (e.memory_limit_bytes && an_sweep_cell_bytes(s, i) > e.memory_limit_bytes)) continue;
        double seconds = from_history(&h, s, i, &basis);
        if (basis == AN_BASIS_UNKNOWN) {
            if (!probed) measure_peaks(&e);
            probed = true;
            seconds = from_model(s, i, &e);
            if (isfinite(seconds)) basis = AN_BASIS_MODEL;
        }
        e.n_by_basis[basis]++;
        double n = (double)(n_rep > n_old ? n_rep - n_old : 0);
        if (basis != AN_BASIS_UNKNOWN)
            e.seconds += n * (seconds + s->delay_s) + s->n_block * (START_S + s->n_warmup * seconds);
        e.disk_bytes += (uint64_t)n * rep_bytes(&c->work) + 2000;
    }
    e.disk_free_bytes = an_path_free_bytes(dir);
    *out = e;
cleanup:
    free_history(&h);
    an_run_free(&stored);
    an_free(at);
    return status;
}

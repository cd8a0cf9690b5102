/* The native driver: engine/session.h behind the worker's loop. */
#include "drivers/native.h"

#include "base/alloc.h"
#include "base/json.h"
#include "drivers/worker.h"
#include "engine/session.h"
#include "engine/spec.h"

#include <stdio.h>
#include <string.h>

typedef struct native {
    an_session *session;
    json_t *notes;           /* of the load that is going on */
    an_spec *spec;            /* with the setting `draft` */
    an_model_file *draft;     /* its model; NULL with look-up */
    an_tokenizer *tokenizer; /* opened by the first tokenize: a timed worker needs none */
    char *path;
} native;

/* To stderr at once, which is shown when the worker fails, and into the answer, for the user. */
static void take_note(void *ctx, const char *text)
{
    native *d = ctx;
    fprintf(stderr, "native: %s\n", text);
    if (!d->notes) d->notes = json_array();
    if (d->notes) json_array_append_new(d->notes, an_json_text(text, strlen(text)));
}

static anemo_status session_options(const an_worker_settings *s, an_session_options *o,
                                    anemo_error *err)
{
    *o = (an_session_options){.n_ctx = s->n_ctx, .kv = AN_KV_F16};
    if (s->stock) return ANEMO_OK;
    if (!an_weights_layout_from_name(s->layout, &o->layout))
        return an_fail(err, ANEMO_ERR_INVAL, "the native engine has no layout \"%s\"", s->layout);
    o->cache_dir = s->layout_dir;
    o->pin = s->pin;
    o->n_batch = s->n_batch < s->n_ubatch ? s->n_batch : s->n_ubatch; /* what is computed at once is its memory */
    o->n_thread = s->threads;
    o->n_thread_prefill = s->threads_batch;
    o->kv_v_set = true;
    if (!an_kv_named(s->kv_type, &o->kv) || !an_kv_named(s->kv_type_v, &o->kv_v))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "the native engine holds keys and values as f16, f32, bf16 or q8_0, not as %s and %s",
                       s->kv_type, s->kv_type_v);
    if (strcmp(s->device, "gpu") == 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "the native engine has no GPU; use --device cpu or auto");
    if (strcmp(s->compute_dtype, "auto") == 0) return ANEMO_OK;
    o->compute_set = true;
    if (!an_compute_from_name(s->compute_dtype, &o->compute))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "the native engine computes in f32, q8 or q8+bf16, not in %s", s->compute_dtype);
    return ANEMO_OK;
}

/* The setting `draft`: look-up, or a model. */
static anemo_status open_spec(native *d, const an_worker_settings *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_spec_options o = {.n_draft = s->draft_n};
    if (strcmp(s->draft, "ngram") != 0) {
        AN_TRY(an_model_file_open(&d->draft, s->draft, err));
        o.draft = d->draft;
    }
    status = an_spec_open(&d->spec, d->session, &o, err);
cleanup:
    return status;
}

/* The engine as it was before a load that failed. */
static void unload(native *d)
{
    an_spec_close(d->spec);
    an_session_close(d->session);
    an_model_file_close(d->draft);
    an_free(d->path);
    *d = (native){.tokenizer = d->tokenizer};
}

static anemo_status load(void *arg, const char *path, const an_worker_settings *s,
                         an_worker_loaded *out, anemo_error *err)
{
    native *d = arg;
    an_session_options o;
    anemo_status status = session_options(s, &o, err);
    if (status != ANEMO_OK) return status;
    o.note = take_note;
    o.note_ctx = d;
    d->path = an_strdup(path);
    if (!d->path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    status = an_session_open(&d->session, path, &o, err);
    out->notes = d->notes;
    d->notes = NULL;
    if (status == ANEMO_OK && *s->draft) status = open_spec(d, s, err);
    if (status != ANEMO_OK) {
        unload(d);
        return status;
    }
    const an_model_file *m = an_session_model(d->session);
    const an_session_options *took = an_session_effective(d->session);
    an_worker_settings *e = &out->effective;
    *e = *s;
    e->n_ctx = took->n_ctx;
    e->n_batch = e->n_ubatch = took->n_batch;
    e->threads = took->n_thread;
    e->threads_batch = took->n_thread_prefill;
    e->n_gpu_layers = 0;
    snprintf(e->kv_type, sizeof e->kv_type, "%s", an_kv_name(took->kv));
    snprintf(e->kv_type_v, sizeof e->kv_type_v, "%s", an_kv_name(took->kv_v));
    snprintf(e->flash_attn, sizeof e->flash_attn, "off");
    snprintf(e->device, sizeof e->device, "cpu");
    snprintf(e->compute_dtype, sizeof e->compute_dtype, "%s", an_compute_name(took->compute));
    snprintf(e->layout, sizeof e->layout, "%s", an_weights_layout_name(took->layout));
    e->pin = took->pin;
    if (d->spec) e->draft_n = an_spec_n_draft(d->spec);
    out->threads_known = out->kv_type_known = true;
    snprintf(out->format, sizeof out->format, "%s",
             m->container == AN_CONTAINER_GGUF ? "gguf" : "mlx");
    snprintf(out->quantization, sizeof out->quantization, "%s", m->quantization);
    out->n_vocab = m->hp.n_vocab;
    out->n_ctx_train = m->hp.n_ctx_train;
    out->bytes = m->weight_bytes;
    out->n_param = m->n_param;
    return ANEMO_OK;
}

static anemo_status prefill(void *arg, const int32_t *ids, size_t n, const an_worker_sampling *s,
                            int32_t *next, anemo_error *err)
{
    native *d = arg;
    an_sampling sampling = an_sampling_greedy();
    sampling.temperature = s->temperature;
    sampling.top_k = s->top_k;
    sampling.top_p = s->top_p;
    sampling.min_p = s->min_p;
    sampling.repeat_penalty = s->repeat_penalty;
    sampling.seed = s->seed;
    anemo_status status;
    if (d->spec) {
        an_spec_reset(d->spec);
        an_spec_sampler_set(d->spec, &sampling);
        status = an_spec_eval(d->spec, ids, (int)n, err);
    } else {
        an_session_reset(d->session);
        an_session_sampler_set(d->session, &sampling);
        status = an_session_eval(d->session, ids, (int)n, err);
    }
    if (status == ANEMO_OK) *next = an_session_sample(d->session);
    return status;
}

static anemo_status step(void *arg, int32_t id, int32_t *next, anemo_error *err)
{
    native *d = arg;
    if (d->spec) return an_spec_next(d->spec, id, next, err);
    anemo_status status = an_session_eval(d->session, &id, 1, err);
    if (status == ANEMO_OK) *next = an_session_sample(d->session);
    return status;
}

static void drafts(void *arg, an_worker_drafts *out)
{
    native *d = arg;
    an_spec_stats stats = an_spec_stats_get(d->spec);
    *out = (an_worker_drafts){stats.n_pass, stats.n_drafted, stats.n_accepted};
}

/* Before other work than generating: a step measurement and logits go past the speculator. */
static void leave_drafts(native *d)
{
    if (d->spec) an_spec_reset(d->spec);
}

static anemo_status forward(void *arg, const int32_t *ids, size_t n, bool more, anemo_error *err)
{
    native *d = arg;
    (void)more; /* a pass ends when its call returns */
    return an_session_eval(d->session, ids, (int)n, err);
}

static anemo_status rewind_to(void *arg, int n, anemo_error *err)
{
    native *d = arg;
    if (n > an_session_n_past(d->session))
        return an_fail(err, ANEMO_ERR_INTERNAL, "the sequence has fewer than %d positions", n);
    if (n == 0) leave_drafts(d);
    an_session_rewind(d->session, n);
    return ANEMO_OK;
}

static anemo_status tokenize(void *arg, const char *text, bool special, int32_t **ids, size_t *n,
                             anemo_error *err)
{
    native *d = arg;
    an_ids list = {0};
    if (!d->tokenizer) {
        anemo_status status = an_tokenizer_open(&d->tokenizer, d->path, err);
        if (status != ANEMO_OK) return status;
    }
    anemo_status status =
        an_tokenizer_encode(d->tokenizer, text, strlen(text), special, &list, err);
    if (status != ANEMO_OK) {
        an_ids_free(&list);
        return status;
    }
    *ids = list.ids;
    *n = list.n;
    return ANEMO_OK;
}

static anemo_status logits(void *arg, const int32_t *ids, size_t n, float *out, int n_vocab,
                           anemo_error *err)
{
    native *d = arg;
    (void)n_vocab;
    leave_drafts(d);
    return an_session_logits_all(d->session, ids, (int)n, out, err);
}

static void close_native(void *arg)
{
    native *d = arg;
    unload(d);
    an_tokenizer_close(d->tokenizer);
}

int an_native_driver_main(void)
{
    static const char *const formats[] = {"gguf", "mlx", NULL};
    static const char *const kv_types[] = {"f16", "f32", "bf16", "q8_0", NULL};
    native d = {0};
    const an_worker_engine engine = {
        .driver = "native",
        .driver_version = ANEMO_VERSION,
        .engine = "native",
        .engine_version = ANEMO_VERSION,
        .formats = formats,
        .kv_types = kv_types,
        .threads = true,
        .sampling = true,
        .ctx = &d,
        .load = load,
        .prefill = prefill,
        .step = step,
        .drafts = drafts,
        .forward = forward,
        .rewind = rewind_to,
        .tokenize = tokenize,
        .logits = logits,
        .close = close_native,
    };
    return an_worker_main(&engine);
}

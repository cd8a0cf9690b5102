/* The public interface of include/anemo over the engine: handles, counted sessions, defaults. */
#include "anemo/anemo.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/str.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "engine/spec.h"
#include "model/decoder.h"
#include "token/tokenizer.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

struct anemo_model {
    an_model_file *file;
    an_tokenizer *tokenizer; /* NULL until it is asked for */
    an_weights_shelf shelf;
    _Atomic int n_session;
};

struct anemo_session {
    anemo_model *model;
    an_session *session;
    an_spec *spec;      /* NULL without drafts; with them all ids go through it */
    anemo_model *draft; /* its model or NULL */
};

const char *anemo_version(void)
{
    return ANEMO_VERSION;
}

/* ---------------------------------------------------------------------------------------------------------- models */

anemo_status anemo_model_open(anemo_model **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *found = NULL;
    anemo_model *model = an_calloc(1, sizeof *model);
    if (!model) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    model->shelf.lock = an_mutex_open();
    if (!model->shelf.lock) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    AN_TRY(an_model_resolve(path, &found, err));
    AN_TRY(an_model_file_open(&model->file, found, err));
    *out = model;
    model = NULL;
cleanup:
    an_free(found);
    if (model) an_weights_shelf_close(&model->shelf);
    an_free(model);
    return status;
}

anemo_status anemo_model_close(anemo_model *model)
{
    if (!model) return ANEMO_OK;
    if (atomic_load(&model->n_session) > 0) return ANEMO_ERR_BUSY;
    an_tokenizer_close(model->tokenizer);
    an_weights_shelf_close(&model->shelf);
    an_model_file_close(model->file);
    an_free(model);
    return ANEMO_OK;
}

void anemo_model_get_info(const anemo_model *model, anemo_model_info *info)
{
    const an_model_file *m = model->file;
    *info = (anemo_model_info){
        .path = m->path,
        .name = m->name,
        .container = m->container == AN_CONTAINER_GGUF ? "gguf" : "mlx",
        .arch = m->arch,
        .quantization = m->quantization,
        .n_layer = m->hp.n_layer,
        .n_embd = m->hp.n_embd,
        .n_head = m->hp.n_head,
        .n_head_kv = m->hp.n_head_kv,
        .n_vocab = m->hp.n_vocab,
        .n_ctx_train = m->hp.n_ctx_train,
        .n_param = m->n_param,
        .weight_bytes = m->weight_bytes,
    };
}

/* ------------------------------------------------------------------------------------------------------------ text */

static anemo_status need_tokenizer(anemo_model *model, anemo_error *err)
{
    if (model->tokenizer) return ANEMO_OK;
    if (model->file->gguf) return an_tokenizer_open_gguf(&model->tokenizer, model->file->gguf, err);
    return an_tokenizer_open_path(&model->tokenizer, model->file->path, err);
}

anemo_status anemo_tokenize(anemo_model *model, const char *text, size_t n, int special, int32_t *ids,
                            size_t cap, size_t *n_ids, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_ids list = {0};
    AN_TRY(need_tokenizer(model, err));
    AN_TRY(an_tokenizer_encode(model->tokenizer, text, n, special != 0, &list, err));
    size_t copied = list.n < cap ? list.n : cap;
    if (copied > 0) memcpy(ids, list.ids, copied * sizeof *ids);
    *n_ids = list.n;
cleanup:
    an_ids_free(&list);
    return status;
}

anemo_status anemo_detokenize(anemo_model *model, const int32_t *ids, size_t n, char *out, size_t cap,
                              size_t *n_bytes, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    AN_TRY(need_tokenizer(model, err));
    an_tokenizer_decode(model->tokenizer, ids, n, false, false, &text);
    AN_TRY(an_str_check(&text, err));
    if (cap > 0) {
        size_t copied = text.len < cap - 1 ? text.len : cap - 1;
        if (copied > 0) memcpy(out, text.data, copied);
        out[copied] = '\0';
    }
    *n_bytes = text.len;
cleanup:
    an_str_free(&text);
    return status;
}

anemo_status anemo_bos(anemo_model *model, int32_t *id, anemo_error *err)
{
    anemo_status status = need_tokenizer(model, err);
    if (status != ANEMO_OK) return status;
    *id = an_tokenizer_add_bos(model->tokenizer) ? an_tokenizer_bos(model->tokenizer) : -1;
    return ANEMO_OK;
}

int anemo_is_end(const anemo_model *model, int32_t id)
{
    for (int i = 0; i < model->file->n_eos; i++)
        if (model->file->eos_ids[i] == id) return 1;
    return model->tokenizer && an_tokenizer_is_eog(model->tokenizer, id);
}

/* -------------------------------------------------------------------------------------------------------- sessions */

static_assert((int)ANEMO_LAYOUT_AUTO == (int)AN_WEIGHTS_AUTO && (int)ANEMO_LAYOUT_MAPPED == (int)AN_WEIGHTS_MAPPED &&
                  (int)ANEMO_LAYOUT_REPACKED == (int)AN_WEIGHTS_REPACKED && (int)ANEMO_LAYOUT_CACHED == (int)AN_WEIGHTS_CACHED,
              "layouts have the same numbers on both sides");

static anemo_status check_layout(const anemo_session_options *o, anemo_error *err)
{
    if (!o || ((int)o->layout >= ANEMO_LAYOUT_AUTO && o->layout <= ANEMO_LAYOUT_CACHED)) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL, "%d is no anemo_layout", (int)o->layout);
}

static an_session_options engine_options(const anemo_session_options *o)
{
    an_session_options out = {.kv = AN_KV_F16};
    if (!o) return out;
    out.n_ctx = o->n_ctx;
    out.n_batch = o->n_batch;
    out.n_thread = o->n_thread;
    out.n_thread_prefill = o->n_thread_prefill;
    out.kv = o->kv_f32 ? AN_KV_F32 : AN_KV_F16;
    out.compute_set = o->exact != 0;
    out.compute = AN_COMPUTE_F32;
    out.layout = (an_weights_layout)o->layout;
    out.cache_dir = o->cache_dir;
    out.pin = o->pin != 0;
    out.note = o->note;
    out.note_ctx = o->note_ctx;
    return out;
}

anemo_status anemo_session_plan_memory(const anemo_model *model, const anemo_session_options *options,
                                       anemo_session_plan *plan, anemo_error *err)
{
    an_session_options o = engine_options(options);
    an_session_plan p;
    anemo_status status = check_layout(options, err);
    if (status != ANEMO_OK) return status;
    status = an_session_plan_memory(model->file, &o, &p, err);
    if (status == ANEMO_OK)
        *plan = (anemo_session_plan){p.decoder.kv_bytes, p.decoder.total_bytes, p.weight_bytes, (anemo_layout)p.layout};
    return status;
}

anemo_status anemo_session_open(anemo_session **out, anemo_model *model, const anemo_session_options *options,
                                anemo_error *err)
{
    an_session_options o = engine_options(options);
    anemo_status status = check_layout(options, err);
    if (status != ANEMO_OK) return status;
    anemo_session *s = an_calloc(1, sizeof *s);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for a session");
    status = an_session_open_model(&s->session, model->file, &model->shelf, &o, err);
    if (status != ANEMO_OK) {
        an_free(s);
        return status;
    }
    s->model = model;
    atomic_fetch_add(&model->n_session, 1);
    *out = s;
    return ANEMO_OK;
}

static void close_draft(anemo_session *session)
{
    an_spec_close(session->spec);
    if (session->draft) atomic_fetch_sub(&session->draft->n_session, 1);
    session->spec = NULL;
    session->draft = NULL;
}

void anemo_session_close(anemo_session *session)
{
    if (!session) return;
    close_draft(session);
    an_session_close(session->session);
    atomic_fetch_sub(&session->model->n_session, 1);
    an_free(session);
}

anemo_layout anemo_session_layout(const anemo_session *session)
{
    return (anemo_layout)an_session_effective(session->session)->layout;
}

void anemo_session_reset(anemo_session *session)
{
    if (session->spec)
        an_spec_reset(session->spec);
    else
        an_session_reset(session->session);
}

int anemo_session_n_past(const anemo_session *session)
{
    return session->spec ? an_spec_n_past(session->spec) : an_session_n_past(session->session);
}

anemo_status anemo_session_eval(anemo_session *session, const int32_t *ids, int n, anemo_error *err)
{
    return session->spec ? an_spec_eval(session->spec, ids, n, err) : an_session_eval(session->session, ids, n, err);
}

const float *anemo_session_logits(const anemo_session *session)
{
    if (session->spec) an_spec_settle(session->spec);
    return an_session_logits(session->session);
}

void anemo_session_set_sampling(anemo_session *session, const anemo_sampling *sampling)
{
    an_sampling s = an_sampling_greedy();
    if (sampling) {
        s.temperature = sampling->temperature;
        s.top_k = sampling->top_k;
        s.top_p = sampling->top_p > 0 ? sampling->top_p : 1;
        s.min_p = sampling->min_p;
        s.repeat_penalty = sampling->repeat_penalty > 0 ? sampling->repeat_penalty : 1;
        s.repeat_last_n = sampling->repeat_last_n > 0 ? sampling->repeat_last_n : s.repeat_last_n;
        s.seed = sampling->seed;
    }
    if (session->spec)
        an_spec_sampler_set(session->spec, &s);
    else
        an_session_sampler_set(session->session, &s);
}

int32_t anemo_session_sample(anemo_session *session)
{
    if (session->spec) an_spec_settle(session->spec);
    return an_session_sample(session->session);
}

anemo_status anemo_session_next(anemo_session *session, int32_t id, int32_t *next, anemo_error *err)
{
    if (session->spec) return an_spec_next(session->spec, id, next, err);
    anemo_status status = an_session_eval(session->session, &id, 1, err);
    if (status == ANEMO_OK) *next = an_session_sample(session->session);
    return status;
}

anemo_status anemo_session_set_draft(anemo_session *session, const anemo_draft_options *options, anemo_error *err)
{
    an_spec *spec = NULL;
    if (options) {
        const an_spec_options o = {.draft = options->model ? options->model->file : NULL, .n_draft = options->n_draft};
        anemo_status status = an_spec_open(&spec, session->session, &o, err);
        if (status != ANEMO_OK) return status;
    }
    close_draft(session);
    const an_sampling again = an_session_sampler(session->session)->s;
    an_session_sampler_set(session->session, &again);
    an_session_reset(session->session);
    session->spec = spec;
    session->draft = options ? options->model : NULL;
    if (session->draft) atomic_fetch_add(&session->draft->n_session, 1);
    return ANEMO_OK;
}

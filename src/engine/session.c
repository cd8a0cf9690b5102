/* A session: model, decoder, sampler, and the choice of the instruction set. */
#include "engine/session.h"

#include "base/alloc.h"
#include "engine/sampler.h"
#include "os/cpu.h"
#include "os/file.h"

#include <string.h>

enum { DEFAULT_CTX_MAX = 8192, DEFAULT_BATCH = 512 };

struct an_session {
    an_model_file *owned_model; /* NULL when the model belongs to the caller */
    const an_model_file *m;
    an_weights *weights;
    bool shared; /* the weights are a shelf's */
    an_session_options o;
    const an_kernels *kernels;
    an_decoder *decoder;
    an_sampler sampler;
    float *logits; /* [n_vocab] */
    const volatile int *stop;
};

anemo_status an_session_choose_kernels(const char *isa, const an_kernels **out, anemo_error *err)
{
    uint32_t cpu = an_cpu_isa(), mask = cpu;
    const char *name = isa ? isa : an_env("ANEMO_ISA");
    if (name) {
        if (!an_kernels_isa_mask(name, &mask))
            return an_fail(err, ANEMO_ERR_INVAL,
                           "unknown instruction set \"%s\" (ANEMO_ISA); known are scalar, avx2, avxvnni, avx512, "
                           "avx512vnni, avx512bf16, amx, neon, dotprod and i8mm",
                           name);
        if (mask & ~cpu) {
            char have[160];
            an_cpu_isa_names(cpu, have, sizeof have);
            return an_fail(err, ANEMO_ERR_INVAL,
                           "this CPU lacks the instruction set \"%s\" (ANEMO_ISA); it has: %s", name, have);
        }
    }
    *out = an_kernels_for(mask);
    return ANEMO_OK;
}

/* Defaults and limits of the options. */
static anemo_status take_options(an_session *s, const an_session_options *o, anemo_error *err)
{
    anemo_status status = an_session_choose_kernels(o->isa, &s->kernels, err);
    if (status != ANEMO_OK) return status;
    int n_ctx_train = s->m->hp.n_ctx_train;
    if (o->n_ctx < 0 || o->n_batch < 0 || o->n_thread < 0 || o->n_thread_prefill < 0)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "context, batch and thread numbers must not be negative (0 takes the default)");
    s->o = *o;
    if (s->o.n_ctx == 0) s->o.n_ctx = n_ctx_train < DEFAULT_CTX_MAX ? n_ctx_train : DEFAULT_CTX_MAX;
    if (s->o.n_batch == 0) s->o.n_batch = DEFAULT_BATCH;
    if (s->o.n_batch > s->o.n_ctx) s->o.n_batch = s->o.n_ctx;
    if (s->o.n_thread == 0) s->o.n_thread = an_cpu_usable();
    if (s->o.n_thread_prefill == 0) s->o.n_thread_prefill = s->o.n_thread;
    if (!s->o.compute_set) s->o.compute = an_kernels_default_compute(s->kernels);
    if (!an_kernels_can(s->kernels, s->o.compute))
        return an_fail(err, ANEMO_ERR_INVAL, "instruction set \"%s\" computes in f32%s only, not in %s",
                       an_kernels_name(s->kernels), an_kernels_can(s->kernels, AN_COMPUTE_Q8) ? " and q8" : "",
                       an_compute_name(s->o.compute));
    s->o.compute_set = true;
    if (!s->o.kv_v_set) s->o.kv_v = s->o.kv;
    s->o.kv_v_set = true;
    s->o.isa = an_kernels_name(s->kernels);
    return ANEMO_OK;
}

/* The threads of decode touch the weights first, so that each finds its rows near; without pinning any thread will do. */
static an_weights_options weights_options(const an_session *s, uint64_t other_bytes)
{
    int n_thread = s->o.n_thread;
    if (!s->o.pin && s->o.n_thread_prefill > n_thread) n_thread = s->o.n_thread_prefill;
    return (an_weights_options){.layout = s->o.layout,
                                .cache_dir = s->o.cache_dir,
                                .kernels = s->kernels,
                                .compute = s->o.compute,
                                .n_thread = n_thread,
                                .pin = s->o.pin,
                                .other_bytes = other_bytes,
                                .note = s->o.note,
                                .note_ctx = s->o.note_ctx};
}

static an_decoder_options decoder_options(const an_session *s)
{
    return (an_decoder_options){.n_ctx = s->o.n_ctx,
                                .n_batch = s->o.n_batch,
                                .kv = s->o.kv,
                                .kv_v_set = s->o.kv_v_set,
                                .kv_v = s->o.kv_v,
                                .compute = s->o.compute,
                                .n_thread_prefill = s->o.n_thread_prefill,
                                .n_thread_decode = s->o.n_thread,
                                .pin = s->o.pin,
                                .kernels = s->kernels};
}

anemo_status an_session_plan_memory(const an_model_file *m, const an_session_options *o,
                                    an_session_plan *plan, anemo_error *err)
{
    an_session s = {.m = m};
    an_session_plan p = {.layout = o->layout};
    anemo_status status = take_options(&s, o, err);
    if (status != ANEMO_OK) return status;
    an_decoder_options decoder = decoder_options(&s);
    uint64_t panels = an_weights_repacked_bytes(m, s.kernels, s.o.compute);
    if (panels == 0) p.layout = AN_WEIGHTS_MAPPED;
    else if (p.layout == AN_WEIGHTS_AUTO) p.layout = AN_WEIGHTS_REPACKED;
    if (p.layout == AN_WEIGHTS_REPACKED) p.weight_bytes = panels;
    status = an_decoder_plan_memory(m, &decoder, &p.decoder, err);
    if (status == ANEMO_OK) *plan = p;
    return status;
}

static anemo_status open_weights(an_session *s, an_weights_shelf *shelf, const an_decoder_options *decoder, anemo_error *err)
{
    an_decoder_plan plan;
    anemo_status status;
    AN_TRY(an_decoder_plan_memory(s->m, decoder, &plan, err));
    an_weights_options o = weights_options(s, plan.total_bytes);
    s->shared = shelf != NULL;
    if (shelf) AN_TRY(an_weights_take(&s->weights, shelf, s->m, &o, err));
    else AN_TRY(an_weights_open(&s->weights, s->m, &o, err));
    s->o.layout = an_weights_effective(s->weights);
cleanup:
    return status;
}

static anemo_status open_parts(an_session *s, an_weights_shelf *shelf, const an_session_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(take_options(s, o, err));
    an_decoder_options decoder = decoder_options(s);
    AN_TRY(open_weights(s, shelf, &decoder, err));
    AN_TRY(an_decoder_open(&s->decoder, an_weights_model(s->weights), &decoder, err));
    s->o.pin = an_decoder_pinned(s->decoder);
    AN_TRY(an_sampler_open(&s->sampler, s->m->hp.n_vocab, err));
    s->logits = an_calloc((size_t)s->m->hp.n_vocab, sizeof *s->logits);
    if (!s->logits) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the logits");
cleanup:
    return status;
}

anemo_status an_session_open_model(an_session **out, const an_model_file *m, an_weights_shelf *shelf,
                                   const an_session_options *o, anemo_error *err)
{
    an_session *s = an_calloc(1, sizeof *s);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for a session");
    s->m = m;
    anemo_status status = open_parts(s, shelf, o, err);
    if (status != ANEMO_OK)
        an_session_close(s);
    else
        *out = s;
    return status;
}

anemo_status an_session_open(an_session **out, const char *model_path, const an_session_options *o,
                             anemo_error *err)
{
    an_model_file *m;
    an_session *s;
    anemo_status status = an_model_file_open(&m, model_path, err);
    if (status != ANEMO_OK) return status;
    status = an_session_open_model(&s, m, NULL, o, err);
    if (status != ANEMO_OK) {
        an_model_file_close(m);
        return status;
    }
    s->owned_model = m;
    *out = s;
    return ANEMO_OK;
}

void an_session_close(an_session *s)
{
    if (!s) return;
    an_decoder_close(s->decoder);
    if (!s->shared) an_weights_close(s->weights);
    an_sampler_close(&s->sampler);
    an_free(s->logits);
    an_model_file_close(s->owned_model);
    an_free(s);
}

const an_model_file *an_session_model(const an_session *s)
{
    return s->m;
}

const an_kernels *an_session_kernels(const an_session *s)
{
    return s->kernels;
}

const an_session_options *an_session_effective(const an_session *s)
{
    return &s->o;
}

void an_session_reset(an_session *s)
{
    an_decoder_rewind(s->decoder, 0);
}

void an_session_rewind(an_session *s, int n_past)
{
    an_decoder_rewind(s->decoder, n_past);
}

int an_session_n_past(const an_session *s)
{
    return an_decoder_n_past(s->decoder);
}

void an_session_set_stop(an_session *s, const volatile int *stop)
{
    s->stop = stop;
}

anemo_status an_session_eval(an_session *s, const int32_t *ids, int n, anemo_error *err)
{
    return an_decoder_run(s->decoder, ids, n, false, s->logits, s->stop, err);
}

const float *an_session_logits(const an_session *s)
{
    return s->logits;
}

anemo_status an_session_eval_all(an_session *s, const int32_t *ids, int n, float *out, anemo_error *err)
{
    return an_decoder_run(s->decoder, ids, n, true, out, s->stop, err);
}

void an_session_set_logits(an_session *s, const float *row)
{
    memcpy(s->logits, row, (size_t)s->m->hp.n_vocab * sizeof *s->logits);
}

anemo_status an_session_logits_all(an_session *s, const int32_t *ids, int n, float *out,
                                   anemo_error *err)
{
    an_session_reset(s);
    return an_decoder_run(s->decoder, ids, n, true, out, s->stop, err);
}

void an_session_sampler_set(an_session *s, const an_sampling *sampling)
{
    an_sampler_set(&s->sampler, sampling);
}

int32_t an_session_sample(an_session *s)
{
    return an_sampler_draw(&s->sampler, s->logits);
}

an_sampler *an_session_sampler(an_session *s)
{
    return &s->sampler;
}

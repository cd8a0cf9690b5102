/* Opening a decoder (its memory plan, its one arena, its threads) and cutting a sequence into batches. */
#include "model/decoder.h"

#include "arch/hparams.h"
#include "base/alloc.h"
#include "base/num.h"
#include "model/forward.h"
#include "model/rope.h"
#include "os/cpu.h"
#include "os/memory.h"

#include <inttypes.h>
#include <string.h>

enum { THREADS_MAX = 1024, BATCH_MAX = 1 << 16, TILE_BYTES_MAX = 1 << 19 };

/* ---------------------------------------------------------------------------------------------------- memory plan */

/* Sums when the arena is not open yet, takes when it is: one list of blocks serves both. */
typedef struct layout {
    an_arena *arena;
    uint64_t bytes;
    bool overflow;
} layout;

static void *take(layout *l, uint64_t count, uint64_t elem_bytes)
{
    uint64_t bytes;
    if (!an_mul_u64(count, elem_bytes, &bytes) || bytes > SIZE_MAX / 2) {
        l->overflow = true;
        return NULL;
    }
    if (l->arena) return an_arena_take_raw(l->arena, (size_t)bytes);
    if (!an_add_u64(l->bytes, an_arena_bytes((size_t)bytes), &l->bytes)) l->overflow = true;
    return NULL;
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static void lay_out_kv(an_decoder *d, layout *l)
{
    const an_hparams *hp = &d->m->hp;
    uint64_t heads = (uint64_t)hp->n_layer * (uint64_t)hp->n_head_kv;
    d->key_head_bytes = whole_lines(an_kv_key_bytes(d->o.kv, hp->head_dim, d->o.n_ctx));
    d->value_head_bytes = whole_lines(an_kv_value_bytes(an_decoder_kv_v(&d->o), hp->head_dim, d->o.n_ctx));
    d->keys = take(l, heads, d->key_head_bytes);
    d->values = take(l, heads, d->value_head_bytes);
}

static void lay_out_activations(an_decoder *d, layout *l)
{
    const an_hparams *hp = &d->m->hp;
    uint64_t n = (uint64_t)d->o.n_batch, f = sizeof(float);
    uint64_t pairs = (uint64_t)hp->head_dim / 2, q = (uint64_t)hp->n_head * (uint64_t)hp->head_dim;
    uint64_t kv = (uint64_t)hp->n_head_kv * (uint64_t)hp->head_dim;
    d->inv_freq = take(l, pairs, f);
    d->cos = take(l, n * pairs, f);
    d->sin = take(l, n * pairs, f);
    d->x = take(l, n * (uint64_t)hp->n_embd, f);
    d->h = take(l, n * (uint64_t)hp->n_embd, f);
    d->q = take(l, n * q, f);
    d->k = take(l, n * kv, f);
    d->v = take(l, n * kv, f);
    d->gate = take(l, n * (uint64_t)hp->n_ff, f);
    d->up = take(l, n * (uint64_t)hp->n_ff, f);
}

/* Tokens that attend together: their scores and sums must stay in a second-level cache. */
static int tile_tokens(const an_hparams *hp)
{
    int group = hp->n_head / hp->n_head_kv, tile = AN_ATTENTION_TOKENS;
    while (tile > 1 && an_attention_scratch_bytes(tile * group, hp->head_dim) > TILE_BYTES_MAX) tile /= 2;
    return tile;
}

/* Forms of quantized activations (an_act). */
typedef struct act_forms {
    bool plain, super;
} act_forms;

static void add_form(act_forms *f, const an_weight *w)
{
    if (an_act_super(w)) f->super = true;
    else f->plain = true;
}

/* Those that the model's matrices want; matrix tiles write to `q` whatever the weights are. */
static act_forms forms_of(const an_decoder *d)
{
    act_forms f = {.plain = d->o.compute == AN_COMPUTE_BF16};
    for (int i = 0; i < d->m->hp.n_layer; i++) {
        const an_layer_weights *lw = &d->m->layers[i];
        const an_weight *all[] = {&lw->wq, &lw->wk, &lw->wv, &lw->wo, &lw->w_gate, &lw->w_up, &lw->w_down};
        for (size_t j = 0; j < AN_COUNT_OF(all); j++) add_form(&f, all[j]);
    }
    add_form(&f, &d->m->output);
    return f;
}

/* Room for n_tok tokens of n_col. */
static an_act_room take_act(layout *l, act_forms f, an_compute compute, int n_tok, int n_col)
{
    an_act_room room = {NULL, NULL};
    if (f.plain) room.q = take(l, an_act_bytes(compute, n_tok, n_col), 1);
    if (f.super) room.q_super = take(l, an_act_super_bytes(compute, n_tok, n_col), 1);
    return room;
}

static void lay_out_scratch(an_decoder *d, layout *l)
{
    const an_hparams *hp = &d->m->hp;
    int group = hp->n_head / hp->n_head_kv, n_q = hp->n_head * hp->head_dim;
    int narrow = n_q > hp->n_embd ? n_q : hp->n_embd, widest = hp->n_ff > narrow ? hp->n_ff : narrow;
    act_forms forms = forms_of(d);
    d->act = take_act(l, forms, d->o.compute, d->o.n_batch, narrow);
    d->act_ff = take_act(l, forms, d->o.compute, d->o.n_batch, hp->n_ff);
    d->tile_tokens = tile_tokens(hp);
    d->n_chunk_max = (d->o.n_ctx + AN_ATTENTION_CHUNK - 1) / AN_ATTENTION_CHUNK;
    d->parts = take(l, (uint64_t)hp->n_head * (uint64_t)d->n_chunk_max,
                    an_attention_part_floats(hp->head_dim) * sizeof(float));
    d->chunks_done = take(l, (uint64_t)hp->n_head_kv, sizeof *d->chunks_done);
    for (int i = 0; d->chunks_done && i < hp->n_head_kv; i++) atomic_init(&d->chunks_done[i], 0);
    int n = d->o.n_thread_prefill > d->o.n_thread_decode ? d->o.n_thread_prefill : d->o.n_thread_decode;
    an_thread_state *threads = take(l, (uint64_t)n, sizeof *threads);
    d->threads = threads;
    for (int i = 0; i < n; i++) {
        an_thread_state t = {
            .h = take(l, AN_PRIVATE_TOKENS * (uint64_t)hp->n_embd, sizeof(float)),
            .act = take_act(l, forms, an_kernels_compute(d->o.compute, AN_PRIVATE_TOKENS), AN_PRIVATE_TOKENS, narrow),
            .q = take(l, (uint64_t)(d->tile_tokens * group) * (uint64_t)hp->head_dim, sizeof(float)),
            .scale = take(l, (uint64_t)d->tile_tokens, sizeof(float)),
            .head = take(l, (uint64_t)hp->head_dim, sizeof(float)),
            .matmul_scratch = take(l, an_matmul_scratch_bytes(d->o.kernels, widest), 1),
            .attn_scratch = take(l, an_attention_scratch_bytes(d->tile_tokens * group, hp->head_dim), 1),
        };
        if (threads) threads[i] = t;
    }
}

static anemo_status check_option(const char *what, int value, int max, anemo_error *err)
{
    if (value < 1 || value > max)
        return an_fail(err, ANEMO_ERR_INVAL, "%s is %d, expected 1 to %d", what, value, max);
    return ANEMO_OK;
}

/* Sizes of all blocks into d->plan; d needs only m and o. */
static anemo_status plan_memory(an_decoder *d, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    layout l = {0};
    AN_TRY(check_option("context length", d->o.n_ctx, AN_CTX_MAX, err));
    AN_TRY(check_option("batch size", d->o.n_batch, BATCH_MAX, err));
    AN_TRY(check_option("number of prefill threads", d->o.n_thread_prefill, THREADS_MAX, err));
    AN_TRY(check_option("number of decode threads", d->o.n_thread_decode, THREADS_MAX, err));
    if (d->o.n_batch > d->o.n_ctx) d->o.n_batch = d->o.n_ctx;
    lay_out_kv(d, &l);
    d->plan.kv_bytes = l.bytes;
    lay_out_activations(d, &l);
    d->plan.activation_bytes = l.bytes - d->plan.kv_bytes;
    lay_out_scratch(d, &l);
    d->plan.scratch_bytes = l.bytes - d->plan.kv_bytes - d->plan.activation_bytes;
    d->plan.total_bytes = l.bytes;
    if (l.overflow || l.bytes > SIZE_MAX / 2)
        status = an_fail(err, ANEMO_ERR_NOMEM,
                         "a context of %d positions needs more memory than this machine can address",
                         d->o.n_ctx);
cleanup:
    return status;
}

anemo_status an_decoder_plan_memory(const an_model_file *m, const an_decoder_options *o,
                                    an_decoder_plan *plan, anemo_error *err)
{
    an_decoder d = {.m = m, .o = *o};
    anemo_status status = plan_memory(&d, err);
    if (status == ANEMO_OK) *plan = d.plan;
    return status;
}

/* --------------------------------------------------------------------------------------------------------- opening */

static anemo_status fail_memory(const an_decoder *d, uint64_t have, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM,
                   "a context of %d positions needs %.1f MB (%.1f MB of it for keys and values), %.1f MB are "
                   "available; ask for a smaller context",
                   d->o.n_ctx, (double)d->plan.total_bytes / 1e6, (double)d->plan.kv_bytes / 1e6,
                   (double)have / 1e6);
}

anemo_status an_decoder_open(an_decoder **out, const an_model_file *m, const an_decoder_options *o,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_decoder *d = an_calloc(1, sizeof *d);
    if (!d) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    d->m = m;
    d->o = *o;
    AN_TRY(plan_memory(d, err));
    uint64_t have = an_mem_available_bytes();
    if (have > 0 && d->plan.total_bytes > have) {
        status = fail_memory(d, have, err);
        goto cleanup;
    }
    if (an_arena_open(&d->arena, (size_t)d->plan.total_bytes, NULL) != ANEMO_OK) {
        status = fail_memory(d, have, err);
        goto cleanup;
    }
    an_mem_huge_pages(d->arena.base, d->arena.bytes);
    layout l = {.arena = &d->arena};
    lay_out_kv(d, &l);
    lay_out_activations(d, &l);
    lay_out_scratch(d, &l);
    AN_TRY(an_pool_open(&d->pool_prefill, o->n_thread_prefill, err));
    if (o->n_thread_decode == o->n_thread_prefill)
        d->pool_decode = d->pool_prefill;
    else
        AN_TRY(an_pool_open(&d->pool_decode, o->n_thread_decode, err));
    if (o->pin) d->o.pin = an_pool_pin(d->pool_prefill) && an_pool_pin(d->pool_decode);
    an_rope_freqs(&m->hp, 0, d->inv_freq);
cleanup:
    if (status != ANEMO_OK)
        an_decoder_close(d);
    else
        *out = d;
    return status;
}

void an_decoder_close(an_decoder *d)
{
    if (!d) return;
    if (d->pool_decode != d->pool_prefill) an_pool_close(d->pool_decode);
    an_pool_close(d->pool_prefill);
    an_arena_close(&d->arena);
    an_free(d);
}

/* --------------------------------------------------------------------------------------------------------- running */

bool an_decoder_pinned(const an_decoder *d)
{
    return d->o.pin;
}

int an_decoder_n_past(const an_decoder *d)
{
    return d->n_past;
}

void an_decoder_rewind(an_decoder *d, int n_past)
{
    AN_ASSERT(n_past >= 0 && n_past <= d->n_past);
    d->n_past = n_past;
    if (d->n_rope_seq > n_past) d->n_rope_seq = n_past;
}

/* Dynamic scaling: the whole run is rotated for the length that the sequence has at its end, as transformers does. */
static void update_rope(an_decoder *d, int n_seq)
{
    if (d->m->hp.rope_scaling != AN_ROPE_DYNAMIC || n_seq <= d->n_rope_seq) return;
    d->n_rope_seq = n_seq;
    an_rope_freqs(&d->m->hp, n_seq, d->inv_freq);
}

static anemo_status check_input(const an_decoder *d, const int32_t *ids, int n_tok, anemo_error *err)
{
    if (n_tok < 1) return an_fail(err, ANEMO_ERR_INVAL, "no tokens to run");
    if (n_tok > d->o.n_ctx - d->n_past)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "the context of %d positions is full: %d are used and %d more were asked for; open the "
                       "session with a longer context",
                       d->o.n_ctx, d->n_past, n_tok);
    for (int i = 0; i < n_tok; i++)
        if (ids[i] < 0 || ids[i] >= d->m->hp.n_vocab)
            return an_fail(err, ANEMO_ERR_INVAL, "token id %" PRId32 " at index %d is not in 0 to %d",
                           ids[i], i, d->m->hp.n_vocab - 1);
    return ANEMO_OK;
}

anemo_status an_decoder_run(an_decoder *d, const int32_t *ids, int n_tok, bool logits_all,
                            float *logits, const volatile int *stop, anemo_error *err)
{
    anemo_status status = check_input(d, ids, n_tok, err);
    if (status != ANEMO_OK) return status;
    update_rope(d, d->n_past + n_tok);
    for (int done = 0; done < n_tok;) {
        if (stop && *stop) return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted");
        int n = n_tok - done < d->o.n_batch ? n_tok - done : d->o.n_batch;
        bool last = done + n == n_tok;
        an_want want = !logits ? AN_WANT_NOTHING : logits_all ? AN_WANT_ALL : last ? AN_WANT_LAST : AN_WANT_NOTHING;
        float *out = logits && logits_all ? logits + (size_t)done * (size_t)d->m->hp.n_vocab : logits;
        an_forward(d, ids + done, n, want, out);
        d->n_past += n;
        done += n;
    }
    return ANEMO_OK;
}

/*
 * The llama.cpp driver: libllama behind the worker's loop. It is built against one library and
 * refuses to run with another, because libllama passes structs by value and its layout changes
 * between versions.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "drivers/worker.h"
#include "os/file.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <llama.h>

#include <stdio.h>
#include <string.h>

typedef struct driver {
    struct llama_model *model;
    struct llama_context *ctx;
    const struct llama_vocab *vocab;
    struct llama_batch batch;
    struct llama_sampler *sampler; /* NULL = greedy */
    ggml_threadpool_t pool, pool_batch;
    int n_vocab, n_batch, n_past;
    bool has_batch;
    char last_error[256]; /* of the library's log */
} driver;

static void on_log(enum ggml_log_level level, const char *text, void *arg)
{
    driver *d = arg;
    if (level == GGML_LOG_LEVEL_ERROR) {
        size_t n = strcspn(text, "\n");
        snprintf(d->last_error, sizeof d->last_error, "%.*s", (int)n, text);
    }
    if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) fputs(text, stderr);
}

static bool is_gpu(ggml_backend_dev_t dev)
{
    enum ggml_backend_dev_type type = ggml_backend_dev_type(dev);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

/* The first GPU, or NULL. */
static ggml_backend_dev_t find_gpu(void)
{
    for (size_t i = 0; i < ggml_backend_dev_count(); i++)
        if (is_gpu(ggml_backend_dev_get(i))) return ggml_backend_dev_get(i);
    return NULL;
}

/*
 * Threads that live as long as the context, as the engine's own tools make them; without them the
 * library starts new ones for every token.
 */
static void attach_threads(driver *d, const an_worker_settings *s)
{
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t reg = cpu ? ggml_backend_dev_backend_reg(cpu) : NULL;
    union {
        void *address;
        ggml_threadpool_t (*call)(struct ggml_threadpool_params *);
    } make = {reg ? ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_new") : NULL};
    if (!make.address) return;
    struct ggml_threadpool_params p = ggml_threadpool_params_default(s->threads);
    d->pool = make.call(&p);
    if (s->threads_batch != s->threads) {
        p = ggml_threadpool_params_default(s->threads_batch);
        d->pool_batch = make.call(&p);
    }
    if (d->pool) llama_attach_threadpool(d->ctx, d->pool, d->pool_batch ? d->pool_batch : d->pool);
}

static void free_threads(driver *d)
{
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    ggml_backend_reg_t reg = cpu ? ggml_backend_dev_backend_reg(cpu) : NULL;
    union {
        void *address;
        void (*call)(ggml_threadpool_t);
    } end = {reg ? ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_free") : NULL};
    if (end.address && d->pool) end.call(d->pool);
    if (end.address && d->pool_batch) end.call(d->pool_batch);
    d->pool = d->pool_batch = NULL;
}

/* What keys and values can be held in; the names are the library's. */
static const enum ggml_type kv_types[] = {
    GGML_TYPE_F16,  GGML_TYPE_F32,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,   GGML_TYPE_Q4_0,
    GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_IQ4_NL,
};
static const char *const kv_names[] = {"f16",  "f32",  "bf16", "q8_0",   "q4_0",
                                       "q4_1", "q5_0", "q5_1", "iq4_nl", NULL};

/* The loop has checked the name. */
static enum ggml_type kv_type_named(const char *name)
{
    size_t i = 0;
    while (kv_names[i + 1] && strcmp(kv_names[i], name) != 0)
        i++;
    return kv_types[i];
}

static struct llama_context_params context_params(const an_worker_settings *s, bool gpu)
{
    struct llama_context_params p = llama_context_default_params();
    if (s->stock) {
        if (s->n_ctx > (int)p.n_ctx) p.n_ctx = (uint32_t)s->n_ctx;
        return p;
    }
    p.n_ctx = (uint32_t)s->n_ctx;
    p.n_batch = (uint32_t)s->n_batch;
    p.n_ubatch = (uint32_t)(s->n_ubatch < s->n_batch ? s->n_ubatch : s->n_batch);
    p.n_seq_max = 1;
    p.n_threads = s->threads;
    p.n_threads_batch = s->threads_batch;
    p.type_k = kv_type_named(s->kv_type);
    p.type_v = kv_type_named(s->kv_type_v);
    p.flash_attn_type = !strcmp(s->flash_attn, "on")    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                        : !strcmp(s->flash_attn, "off") ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                        : LLAMA_FLASH_ATTN_TYPE_AUTO;
    /* On a CPU "auto" means on; said so here, the cell can tell what was used. */
    if (!gpu && p.flash_attn_type == LLAMA_FLASH_ATTN_TYPE_AUTO)
        p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    p.no_perf = true;
    return p;
}

/* What activations are held in while weights of this type are multiplied on the CPU. */
static const char *compute_name(const struct llama_model *model)
{
    switch (llama_model_ftype(model)) {
    case LLAMA_FTYPE_ALL_F32:
        return "f32";
    case LLAMA_FTYPE_MOSTLY_F16:
        return "f16";
    case LLAMA_FTYPE_MOSTLY_BF16:
        return "bf16";
    default:
        return "q8";
    }
}

static void fill_loaded(const driver *d, const an_worker_settings *s,
                        const struct llama_context_params *p, ggml_backend_dev_t gpu,
                        int n_gpu_layers, an_worker_loaded *out)
{
    an_worker_settings *e = &out->effective;
    *e = *s;
    e->n_ctx = (int)llama_n_ctx(d->ctx);
    e->n_batch = (int)llama_n_batch(d->ctx);
    e->n_ubatch = (int)llama_n_ubatch(d->ctx);
    e->threads = llama_n_threads(d->ctx);
    e->threads_batch = llama_n_threads_batch(d->ctx);
    snprintf(e->kv_type, sizeof e->kv_type, "%s", ggml_type_name(p->type_k));
    snprintf(e->kv_type_v, sizeof e->kv_type_v, "%s", ggml_type_name(p->type_v));
    const char *flash = p->flash_attn_type == LLAMA_FLASH_ATTN_TYPE_ENABLED ? "on"
                        : p->flash_attn_type == LLAMA_FLASH_ATTN_TYPE_DISABLED
                            ? "off"
                            : ""; /* what "auto" became, no call tells */
    snprintf(e->flash_attn, sizeof e->flash_attn, "%s", flash);
    snprintf(e->device, sizeof e->device, "%s",
             gpu && n_gpu_layers ? ggml_backend_dev_name(gpu) : "cpu");
    snprintf(e->compute_dtype, sizeof e->compute_dtype, "%s",
             gpu && n_gpu_layers ? "" : compute_name(d->model));
    int n_layer = llama_model_n_layer(d->model);
    e->n_gpu_layers = !gpu                                             ? 0
                      : n_gpu_layers < 0 || n_gpu_layers > n_layer + 1 ? n_layer + 1
                                                                       : n_gpu_layers;
    out->threads_known = out->kv_type_known = true;
    snprintf(out->format, sizeof out->format, "gguf");
    const char *type = llama_ftype_name(llama_model_ftype(d->model));
    snprintf(out->quantization, sizeof out->quantization, "%s", type ? type : "");
    out->n_vocab = d->n_vocab;
    out->n_ctx_train = llama_model_n_ctx_train(d->model);
    llama_model_desc(d->model, out->description, sizeof out->description);
    out->bytes = llama_model_size(d->model);
    out->n_param = llama_model_n_params(d->model);
    out->bos_known = llama_vocab_get_add_bos(d->vocab) && llama_vocab_bos(d->vocab) >= 0;
    if (out->bos_known) out->bos = llama_vocab_bos(d->vocab);
}

static anemo_status load(void *arg, const char *path, const an_worker_settings *s,
                         an_worker_loaded *out, anemo_error *err)
{
    driver *d = arg;
    ggml_backend_dev_t none[1] = {NULL}, gpu = NULL;
    if (an_path_probe(path) == AN_PATH_ABSENT)
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no such file", path);
    struct llama_model_params mp = llama_model_default_params();
    if (s->stock || strcmp(s->device, "cpu") != 0) gpu = find_gpu();
    if (!s->stock && !strcmp(s->device, "gpu") && !gpu)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "this libllama has no GPU device; use --device cpu");
    if (!s->stock) mp.n_gpu_layers = gpu ? s->n_gpu_layers : 0;
    if (!gpu) mp.devices = none;
    d->model = llama_model_load_from_file(path, mp);
    if (!d->model)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: libllama cannot load it: %s", path,
                       *d->last_error ? d->last_error : "it gives no reason");
    struct llama_context_params cp = context_params(s, gpu != NULL);
    d->ctx = llama_init_from_model(d->model, cp);
    if (!d->ctx)
        return an_fail(err, ANEMO_ERR_NOMEM,
                       "%s: libllama cannot make a context of %u positions: %s", path, cp.n_ctx,
                       *d->last_error ? d->last_error : "it gives no reason");
    d->vocab = llama_model_get_vocab(d->model);
    d->n_vocab = llama_vocab_n_tokens(d->vocab);
    d->n_batch = (int)llama_n_batch(d->ctx);
    d->batch = llama_batch_init(d->n_batch, 0, 1);
    d->has_batch = true;
    if (!s->stock) attach_threads(d, s);
    fill_loaded(d, s, &cp, gpu, mp.n_gpu_layers, out);
    return ANEMO_OK;
}

/* Append ids to the sequence; logits of all of them or of the last one (when `last`). */
static anemo_status decode(driver *d, const int32_t *ids, int n, bool all, bool last,
                           anemo_error *err)
{
    struct llama_batch *b = &d->batch;
    b->n_tokens = n;
    for (int i = 0; i < n; i++) {
        b->token[i] = ids[i];
        b->pos[i] = d->n_past + i;
        b->n_seq_id[i] = 1;
        b->seq_id[i][0] = 0;
        b->logits[i] = all || (last && i == n - 1);
    }
    int rc = llama_decode(d->ctx, *b);
    if (rc != 0)
        return an_fail(err, rc == 1 ? ANEMO_ERR_NOMEM : ANEMO_ERR_ENGINE,
                       "llama_decode returned %d at position %d%s%s", rc, d->n_past,
                       *d->last_error ? ": " : "", d->last_error);
    d->n_past += n;
    return ANEMO_OK;
}

/* The largest logit, the smallest id on a tie. */
static int32_t argmax(const float *x, int n)
{
    float best = x[0];
    for (int i = 1; i < n; i++)
        best = x[i] > best ? x[i] : best;
    for (int i = 0; i < n; i++)
        if (x[i] == best) return i;
    return 0;
}

static anemo_status sample(driver *d, int32_t *next, anemo_error *err)
{
    if (d->sampler) {
        *next = llama_sampler_sample(d->sampler, d->ctx, -1);
        return ANEMO_OK;
    }
    const float *logits = llama_get_logits_ith(d->ctx, -1);
    if (!logits) return an_fail(err, ANEMO_ERR_ENGINE, "libllama gave no logits");
    *next = argmax(logits, d->n_vocab);
    return ANEMO_OK;
}

/* The order of our own sampler: penalty, top-k, temperature, top-p, min-p, draw. */
static anemo_status make_sampler(driver *d, const an_worker_sampling *s, anemo_error *err)
{
    if (d->sampler) llama_sampler_free(d->sampler);
    d->sampler = NULL;
    if (s->temperature <= 0 && s->repeat_penalty == 1) return ANEMO_OK;
    struct llama_sampler *chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (!chain) return an_fail(err, ANEMO_ERR_NOMEM, "libllama cannot make a sampler");
    if (s->repeat_penalty != 1)
        llama_sampler_chain_add(
            chain, llama_sampler_init_penalties(d->n_vocab, 64, (float)s->repeat_penalty, 0, 0));
    if (s->temperature <= 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_greedy());
    } else {
        if (s->top_k > 0) llama_sampler_chain_add(chain, llama_sampler_init_top_k(s->top_k));
        llama_sampler_chain_add(chain, llama_sampler_init_temp((float)s->temperature));
        if (s->top_p < 1)
            llama_sampler_chain_add(chain, llama_sampler_init_top_p((float)s->top_p, 1));
        if (s->min_p > 0)
            llama_sampler_chain_add(chain, llama_sampler_init_min_p((float)s->min_p, 1));
        llama_sampler_chain_add(chain, llama_sampler_init_dist((uint32_t)s->seed));
    }
    d->sampler = chain;
    return ANEMO_OK;
}

static void start_over(driver *d)
{
    llama_memory_clear(llama_get_memory(d->ctx), false);
    d->n_past = 0;
}

static anemo_status prefill(void *arg, const int32_t *ids, size_t n, const an_worker_sampling *s,
                            int32_t *next, anemo_error *err)
{
    driver *d = arg;
    anemo_status status = make_sampler(d, s, err);
    start_over(d);
    for (size_t at = 0; status == ANEMO_OK && at < n;) {
        size_t m = n - at < (size_t)d->n_batch ? n - at : (size_t)d->n_batch;
        status = decode(d, ids + at, (int)m, false, at + m == n, err);
        at += m;
    }
    for (size_t i = 0; status == ANEMO_OK && d->sampler && i < n; i++)
        llama_sampler_accept(d->sampler, ids[i]);
    return status == ANEMO_OK ? sample(d, next, err) : status;
}

static anemo_status step(void *arg, int32_t id, int32_t *next, anemo_error *err)
{
    driver *d = arg;
    anemo_status status = decode(d, &id, 1, false, true, err);
    return status == ANEMO_OK ? sample(d, next, err) : status;
}

/* The last id's logits are asked for in every pass, as llama-bench does; they stay in the library. */
static anemo_status forward(void *arg, const int32_t *ids, size_t n, bool more, anemo_error *err)
{
    driver *d = arg;
    anemo_status status = decode(d, ids, (int)n, false, true, err);
    if (status == ANEMO_OK && !more) llama_synchronize(d->ctx);
    return status;
}

static anemo_status rewind_to(void *arg, int n, anemo_error *err)
{
    driver *d = arg;
    if (n == 0) {
        start_over(d);
        return ANEMO_OK;
    }
    /* A cache that keeps no more than a window has dropped what the shorter sequence would need. */
    if (llama_model_n_swa(d->model) > 0 ||
        !llama_memory_seq_rm(llama_get_memory(d->ctx), 0, n, -1))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "this model's cache cannot be shortened");
    d->n_past = n;
    return ANEMO_OK;
}

static anemo_status tokenize(void *arg, const char *text, bool special, int32_t **ids, size_t *n,
                             anemo_error *err)
{
    driver *d = arg;
    if (llama_vocab_type(d->vocab) == LLAMA_VOCAB_TYPE_NONE) /* libllama aborts */
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "tokenize: the model has no vocabulary");
    size_t len = strlen(text);
    if (len > INT32_MAX / 2) return an_fail(err, ANEMO_ERR_INVAL, "tokenize: the text is too long");
    int32_t need = -llama_tokenize(d->vocab, text, (int32_t)len, NULL, 0, false, special);
    if (need < 0) need = 0;
    int32_t *list = an_malloc((size_t)need * sizeof *list);
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "tokenize: out of memory");
    int32_t got =
        need ? llama_tokenize(d->vocab, text, (int32_t)len, list, need, false, special) : 0;
    if (got < 0) {
        an_free(list);
        return an_fail(err, ANEMO_ERR_ENGINE, "llama_tokenize returned %d", (int)got);
    }
    *ids = list;
    *n = (size_t)got;
    return ANEMO_OK;
}

static anemo_status logits(void *arg, const int32_t *ids, size_t n, float *out, int n_vocab,
                           anemo_error *err)
{
    driver *d = arg;
    int n_ubatch = (int)llama_n_ubatch(d->ctx);
    start_over(d);
    for (size_t at = 0; at < n;) {
        int m = n - at < (size_t)n_ubatch ? (int)(n - at) : n_ubatch;
        anemo_status status = decode(d, ids + at, m, true, false, err);
        if (status != ANEMO_OK) return status;
        for (int i = 0; i < m; i++) {
            const float *row = llama_get_logits_ith(d->ctx, i);
            if (!row)
                return an_fail(err, ANEMO_ERR_ENGINE, "libllama gave no logits for position %zu",
                               at + (size_t)i);
            memcpy(out + (at + (size_t)i) * (size_t)n_vocab, row, (size_t)n_vocab * sizeof *row);
        }
        at += (size_t)m;
    }
    return ANEMO_OK;
}

static void close_driver(void *arg)
{
    driver *d = arg;
    if (d->sampler) llama_sampler_free(d->sampler);
    if (d->has_batch) llama_batch_free(d->batch);
    if (d->ctx) llama_free(d->ctx);
    free_threads(d);
    if (d->model) llama_model_free(d->model);
    llama_backend_free();
}

/* Who made the library, and what of it would do the work: as its own tools name these. */
static json_t *build_json(void)
{
    char backends[128] = "", cpu[256] = "", gpu[256] = "";
    struct list {
        char *text;
        size_t cap;
    } lists[] = {{cpu, sizeof cpu}, {gpu, sizeof gpu}, {backends, sizeof backends}};
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        struct list *l = &lists[is_gpu(dev)];
        size_t n = strlen(l->text);
        snprintf(l->text + n, l->cap - n, "%s%s", n ? ", " : "", ggml_backend_dev_description(dev));
    }
    for (size_t i = 0; i < ggml_backend_reg_count(); i++) {
        const char *name = ggml_backend_reg_name(ggml_backend_reg_get(i));
        size_t n = strlen(backends);
        if (strcmp(name, "CPU") != 0)
            snprintf(backends + n, sizeof backends - n, "%s%s", n ? "," : "", name);
    }
    return json_pack("{s:s,s:i,s:o,s:o,s:s}", "commit", AN_LLAMA_COMMIT, "number", AN_LLAMA_NUMBER,
                     "cpu_info", an_json_text(cpu, strlen(cpu)), "gpu_info",
                     an_json_text(gpu, strlen(gpu)), "backends", *backends ? backends : "CPU");
}

static json_t *devices_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        const char *name = is_gpu(dev) ? ggml_backend_dev_name(dev) : "cpu";
        enum ggml_backend_dev_type type = ggml_backend_dev_type(dev);
        if (!is_gpu(dev) && type != GGML_BACKEND_DEVICE_TYPE_CPU) continue;
        json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "name", name, "kind",
                                              is_gpu(dev) ? "gpu" : "cpu", "description",
                                              ggml_backend_dev_description(dev)));
    }
    return list;
}

int main(void)
{
    an_json_watch_memory();
    static const char *const formats[] = {"gguf", NULL};
    char *library = an_path_of_code((const void *)&llama_version);
    if (strcmp(llama_version(), AN_LLAMA_VERSION) != 0 ||
        strcmp(ggml_version(), AN_GGML_VERSION) != 0 ||
        strcmp(ggml_commit(), AN_GGML_COMMIT) != 0) {
        int rc = an_worker_refuse(
            ANEMO_ERR_UNSUPPORTED,
            "this driver was built for libllama %s (ggml %s, commit %s) and found %s (ggml %s, "
            "commit %s) in %s; "
            "libllama has no stable interface: build anemo again with the present library",
            AN_LLAMA_VERSION, AN_GGML_VERSION, AN_GGML_COMMIT, llama_version(), ggml_version(),
            ggml_commit(), library ? library : "an unknown file");
        an_free(library);
        return rc;
    }
    driver d = {0};
    llama_log_set(on_log, &d);
    llama_backend_init();
    if (ggml_backend_dev_count() == 0) ggml_backend_load_all();
    an_worker_engine engine = {
        .driver = "llama.cpp",
        .driver_version = ANEMO_VERSION,
        .engine = "llama.cpp",
        .engine_version = AN_LLAMA_VERSION " (" AN_GGML_COMMIT ")",
        .library = library,
        .formats = formats,
        .kv_types = kv_names,
        .flash_attn = true,
        .threads = true,
        .sampling = true,
        .devices = devices_json(),
        .build = build_json(),
        .ctx = &d,
        .load = load,
        .prefill = prefill,
        .step = step,
        .forward = forward,
        .rewind = rewind_to,
        .tokenize = tokenize,
        .logits = logits,
        .close = close_driver,
    };
    int rc = an_worker_main(&engine);
    json_decref(engine.devices);
    json_decref(engine.build);
    an_free(library);
    return rc;
}

/*
 * anemo-driver-mlx: the worker that runs our Mistral model on MLX. Protocol and process are
 * src/drivers/worker.h; this file translates between its settings and the model's.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "drivers/mlx/mlx_model.h"
#include "drivers/worker.h"
#include "engine/sampler.h"

#include <stdio.h>
#include <string.h>

typedef struct driver {
    an_mlx_model *model; /* NULL before load */
    an_sampler sampler;
    float *logits; /* [n_vocab], for sampling on the host */
    bool greedy;
} driver;

static anemo_status choose_gpu(const an_worker_settings *s, bool *gpu, anemo_error *err)
{
    const char *gpu_name = an_mlx_gpu_name();
    bool named = strcmp(s->device, "gpu") == 0 || (gpu_name && strcmp(s->device, gpu_name) == 0);
    if (strcmp(s->device, "auto") == 0) {
        *gpu = gpu_name != NULL && s->n_gpu_layers != 0;
    } else if (strcmp(s->device, "cpu") == 0) {
        *gpu = false;
    } else if (!named) {
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "mlx: no device %s; it has cpu%s%s", s->device,
                       gpu_name ? " and " : "", gpu_name ? gpu_name : "");
    } else if (!gpu_name) {
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "mlx: this build of MLX has no GPU; run with --device cpu, or install MLX "
                       "for Metal or CUDA");
    } else {
        *gpu = true;
    }
    return ANEMO_OK;
}

static void fill_loaded(const driver *d, const an_worker_settings *s, bool gpu,
                        an_worker_loaded *out)
{
    const an_mlx_info *info = an_mlx_model_info(d->model);
    const char *compute = an_mlx_dtype_name(info->compute);
    memset(out, 0, sizeof *out);
    snprintf(out->format, sizeof out->format, "mlx");
    snprintf(out->quantization, sizeof out->quantization, "%s", info->quantization);
    out->n_vocab = info->n_vocab;
    out->n_ctx_train = info->n_ctx_train;
    out->bytes = info->bytes;
    out->n_param = info->n_param;
    out->effective = *s;
    out->effective.layout[0] = '\0';
    out->effective.n_ubatch = s->n_batch; /* a pass is not cut further */
    out->effective.n_gpu_layers = gpu ? info->n_layer : 0;
    snprintf(out->effective.device, sizeof out->effective.device, "%s",
             gpu ? an_mlx_gpu_name() : "cpu");
    snprintf(out->effective.compute_dtype, sizeof out->effective.compute_dtype, "%s", compute);
    /* The cache holds what attention computes with; MLX picks a fused kernel by itself, and has one
     * on GPUs only. */
    snprintf(out->effective.kv_type, sizeof out->effective.kv_type, "%s", compute);
    snprintf(out->effective.kv_type_v, sizeof out->effective.kv_type_v, "%s", compute);
    snprintf(out->effective.flash_attn, sizeof out->effective.flash_attn, "%s",
             gpu ? "auto" : "off");
    out->kv_type_known = true;
    out->threads_known = false; /* MLX sizes its own pools and has no call that tells */
}

static void driver_close(void *ctx)
{
    driver *d = ctx;
    an_mlx_model_close(d->model);
    an_sampler_close(&d->sampler);
    an_free(d->logits);
    memset(d, 0, sizeof *d);
}

static anemo_status driver_load(void *ctx, const char *model, const an_worker_settings *s,
                                an_worker_loaded *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    driver *d = ctx;
    an_worker_settings taken = *s;
    bool gpu = false;
    if (s->stock) {
        /* Our own defaults: the largest batch of mlx-lm, the device and type that MLX is best at.
         */
        taken.n_batch = 2048;
        snprintf(taken.device, sizeof taken.device, "auto");
        snprintf(taken.compute_dtype, sizeof taken.compute_dtype, "auto");
        taken.n_gpu_layers = -1;
    }
    AN_TRY(choose_gpu(&taken, &gpu, err));
    an_mlx_options o = {.n_ctx = taken.n_ctx,
                        .n_batch = taken.n_batch,
                        .gpu = gpu,
                        .compute_dtype = taken.compute_dtype};
    AN_TRY(an_mlx_model_open(&d->model, model, &o, err));
    int n_vocab = an_mlx_model_info(d->model)->n_vocab;
    AN_TRY(an_sampler_open(&d->sampler, n_vocab, err));
    d->logits = an_calloc((size_t)n_vocab, sizeof *d->logits);
    if (!d->logits) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "mlx: no memory for %d logits", n_vocab);
        goto cleanup;
    }
    fill_loaded(d, &taken, gpu, out);
cleanup:
    if (status != ANEMO_OK) driver_close(d);
    return status;
}

static anemo_status next_id(driver *d, const int32_t *ids, size_t n, int32_t *next,
                            anemo_error *err)
{
    if (d->greedy) return an_mlx_model_next(d->model, ids, n, next, err);
    anemo_status status = an_mlx_model_logits(d->model, ids, n, false, d->logits, err);
    if (status == ANEMO_OK) *next = an_sampler_draw(&d->sampler, d->logits);
    return status;
}

static anemo_status driver_prefill(void *ctx, const int32_t *ids, size_t n,
                                   const an_worker_sampling *s, int32_t *next, anemo_error *err)
{
    driver *d = ctx;
    an_sampling sampling = an_sampling_greedy();
    sampling.temperature = s->temperature;
    sampling.top_k = s->top_k;
    sampling.top_p = s->top_p;
    sampling.min_p = s->min_p;
    sampling.repeat_penalty = s->repeat_penalty;
    sampling.seed = s->seed;
    d->greedy = s->temperature <= 0 && s->repeat_penalty == 1;
    an_mlx_model_reset(d->model);
    an_sampler_set(&d->sampler, &sampling);
    return next_id(d, ids, n, next, err);
}

static anemo_status driver_step(void *ctx, int32_t id, int32_t *next, anemo_error *err)
{
    return next_id(ctx, &id, 1, next, err);
}

static anemo_status driver_forward(void *ctx, const int32_t *ids, size_t n, bool more,
                                   anemo_error *err)
{
    driver *d = ctx;
    return an_mlx_model_forward(d->model, ids, n, more, err);
}

static anemo_status driver_rewind(void *ctx, int n, anemo_error *err)
{
    driver *d = ctx;
    if (n > an_mlx_model_n_past(d->model))
        return an_fail(err, ANEMO_ERR_INTERNAL, "mlx: the sequence has fewer than %d positions", n);
    an_mlx_model_rewind(d->model, n);
    return ANEMO_OK;
}

static anemo_status driver_logits(void *ctx, const int32_t *ids, size_t n, float *out, int n_vocab,
                                  anemo_error *err)
{
    driver *d = ctx;
    int have = an_mlx_model_info(d->model)->n_vocab;
    if (n_vocab != have)
        return an_fail(err, ANEMO_ERR_INVAL, "mlx: logits have %d columns, not %d", have, n_vocab);
    an_mlx_model_reset(d->model);
    return an_mlx_model_logits(d->model, ids, n, true, out, err);
}

static json_t *devices(void)
{
    const char *gpu = an_mlx_gpu_name();
    json_t *list = json_pack("[{s:s, s:s}]", "name", "cpu", "kind", "cpu");
    if (list && gpu)
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", gpu, "kind", "gpu"));
    return list;
}

int main(void)
{
    an_json_watch_memory();
    static const char *const formats[] = {"mlx", NULL};
    static const char *const kv_types[] = {"f16", "f32", NULL};
    if (strcmp(an_mlx_version(), an_mlx_version_built()) != 0) {
        fprintf(stderr, "anemo-driver-mlx was built for MLX %s but found %s; build anemo again\n",
                an_mlx_version_built(), an_mlx_version());
        return 1;
    }
    driver d = {0};
    an_worker_engine engine = {.driver = "mlx",
                               .driver_version = ANEMO_VERSION,
                               .engine = "mlx",
                               .engine_version = an_mlx_version(),
                               .library = ANEMO_MLX_LIBRARY,
                               .formats = formats,
                               .kv_types = kv_types,
                               .flash_attn = false,
                               .threads = false,
                               .sampling = true,
                               .devices = devices(),
                               .ctx = &d,
                               .load = driver_load,
                               .prefill = driver_prefill,
                               .step = driver_step,
                               .forward = driver_forward,
                               .rewind = driver_rewind,
                               .logits = driver_logits,
                               .close = driver_close};
    int exit_status = an_worker_main(&engine);
    driver_close(&d);
    json_decref(engine.devices);
    if (an_mlx_live_handles() != 0) {
        fprintf(stderr, "anemo-driver-mlx: %lld MLX handles were not freed\n",
                (long long)an_mlx_live_handles());
        return 1;
    }
    return exit_status;
}

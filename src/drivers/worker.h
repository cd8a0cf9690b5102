/*
 * The worker's side of the driver protocol for drivers written in C: reads requests, calls an
 * engine's functions, writes answers. A driver fills an an_worker_engine and calls
 * an_worker_main().
 */
#ifndef AN_DRIVERS_WORKER_H
#define AN_DRIVERS_WORKER_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_worker_settings {
    int n_ctx, n_batch, n_ubatch, threads, threads_batch;
    char kv_type[8], kv_type_v[8]; /* of keys, of values */
    char flash_attn[8], device[32], compute_dtype[8];
    int n_gpu_layers;
    bool stock;
    char layout[12];        /* "auto", "mapped", "repacked", "cached"; in `effective` "" where the engine has no choice */
    bool pin;
    const char *layout_dir; /* NULL = the engine's own choice; borrowed for the call */
    char draft[1024]; /* "" = plain decoding, "ngram", or the path of a draft model */
    int draft_n;      /* ids drafted at once at most; 0 = the engine's default */
} an_worker_settings;

typedef struct an_worker_loaded {
    char format[16], quantization[48];
    int n_vocab, n_ctx_train;
    /* What the engine itself says of the model; "" and 0 = nothing. */
    char description[64];
    uint64_t bytes, n_param;
    int32_t bos;                       /* id that begins a sequence where bos_known */
    bool bos_known;
    an_worker_settings effective;      /* what the engine took */
    bool threads_known, kv_type_known; /* false: null in `effective`, as are empty names */
    json_t *notes;                     /* array of sentences for the user, or NULL; gives */
} an_worker_loaded;

typedef struct an_worker_sampling {
    double temperature, top_p, min_p, repeat_penalty;
    int top_k;
    uint64_t seed;
} an_worker_sampling;

/* What speculative decoding came to in one generation: passes after the prompt's, ids drafted and kept. */
typedef struct an_worker_drafts {
    uint64_t n_pass, n_drafted, n_accepted;
} an_worker_drafts;

/*
 * What an engine's driver supplies. All calls come from one thread. `prefill` starts from an empty
 * sequence and returns the first generated id; `step` appends `id` and returns the next one.
 * Functions that are NULL are capabilities that the driver lacks.
 */
typedef struct an_worker_engine {
    const char *driver, *driver_version, *engine, *engine_version;
    const char *library;         /* NULL when none */
    const char *const *formats;  /* NULL-terminated */
    const char *const *kv_types; /* NULL-terminated */
    bool flash_attn, threads, sampling;
    json_t *devices; /* array or NULL */
    json_t *build;   /* of the engine, an object or NULL: docs/driver-protocol.md, hello */
    void *ctx;
    anemo_status (*load)(void *ctx, const char *model, const an_worker_settings *s,
                         an_worker_loaded *out, anemo_error *err);
    anemo_status (*prefill)(void *ctx, const int32_t *ids, size_t n, const an_worker_sampling *s,
                            int32_t *next, anemo_error *err);
    anemo_status (*step)(void *ctx, int32_t id, int32_t *next, anemo_error *err);
    /* Of the generation that ended; a driver that has it obeys the setting `draft`. */
    void (*drafts)(void *ctx, an_worker_drafts *out);
    /*
     * The two halves of a step measurement, which has neither sampler nor tokenizer. `forward`
     * appends n ids in one pass, n at most the batch size; the last one's logits are computed and
     * stay where they are. It returns when they are there, or with `more` when the next pass may be
     * given. `rewind` shortens the sequence to its first n positions; 0 is always possible,
     * ERR_UNSUPPORTED for another n makes the worker fill it anew.
     */
    anemo_status (*forward)(void *ctx, const int32_t *ids, size_t n, bool more, anemo_error *err);
    anemo_status (*rewind)(void *ctx, int n, anemo_error *err);
    /* Gives ids[*n]: an_free. */
    anemo_status (*tokenize)(void *ctx, const char *text, bool special, int32_t **ids, size_t *n,
                             anemo_error *err);
    /* Rows of n_vocab floats for all ids from an empty sequence. */
    anemo_status (*logits)(void *ctx, const int32_t *ids, size_t n, float *out, int n_vocab,
                           anemo_error *err);
    void (*close)(void *ctx);
} an_worker_engine;

/* Serve stdin and stdout until quit or the end of stdin. Returns the process's exit status. */
int an_worker_main(const an_worker_engine *engine);

/*
 * Instead of serving: say in an `error` message why this driver cannot start, for example because
 * it found another library than it was built for. Returns the process's exit status.
 */
int an_worker_refuse(anemo_status status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif

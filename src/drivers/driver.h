/*
 * The parent's side of the driver protocol (docs/driver-protocol.md): find an engine's driver, start its worker,
 * ask, and learn what became of it. One client = one worker process = one model.
 */
#ifndef AN_DRIVERS_DRIVER_H
#define AN_DRIVERS_DRIVER_H

#include "arch/model_file.h"
#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------------------------------------------ registry */

/* One engine that anemo knows how to drive. Static. */
typedef struct an_engine_info {
    const char *name; /* "native", "llama.cpp", "llama-cpp-python", "mlx", "mlx-lm", "http" */
    bool reads_gguf, reads_mlx;
    bool third_party;       /* driven, not ours */
    bool drafts;            /* has speculative decoding; its driver's hello says so too */
    const char *how_to_get; /* one sentence for a missing engine */
} an_engine_info;

size_t an_engine_n(void);
const an_engine_info *an_engine_at(size_t i);
const an_engine_info *an_engine_find(const char *name); /* NULL when unknown */

/* Can the engine read that container? http reads neither: it holds its own model. */
bool an_engine_reads(const an_engine_info *e, an_container container);

/*
 * The command that starts the engine's worker, NULL-terminated; free with an_argv_free. ERR_NOTFOUND with how to get
 * it when the driver or the library is missing. `url` is for http. Engines are looked for beside the executable, in
 * libexec, in ANEMO_ENGINES (a virtual environment), and in the user's cache.
 */
ANEMO_MUST_CHECK anemo_status an_engine_command(const an_engine_info *e, const char *url, char ***argv,
                                                anemo_error *err);
void an_argv_free(char **argv);

/* -------------------------------------------------------------------------------------------------- settings */

typedef enum an_tristate { AN_AUTO, AN_ON, AN_OFF } an_tristate;

typedef struct an_settings {
    int n_ctx, n_batch, n_ubatch, threads, threads_batch;
    const char *kv_type;   /* "f16", "f32", …: what the driver's hello lists */
    const char *kv_type_v; /* of the values alone; NULL = kv_type */
    an_tristate flash_attn;
    const char *device;        /* "auto", "cpu", "gpu" */
    int n_gpu_layers;          /* -1 = all */
    const char *compute_dtype; /* "auto", "f32", "f16", "bf16", "q8", "q8+bf16" */
    bool stock;
    const char *layout;     /* "auto", "mapped", "repacked", "cached": how the native engine holds weights */
    bool pin;               /* native: each thread on a CPU of its own */
    const char *layout_dir; /* of the files of layout "cached"; NULL = the user's cache. No part of what is measured */
    const char *draft; /* speculative decoding: "ngram" or the path of a draft model; NULL = plain */
    int draft_n;       /* ids drafted at once at most; 0 = the engine's default */
} an_settings;
an_settings an_settings_default(void); /* n_ctx 0 (caller fills), batch 512/512, threads usable CPUs, f16, auto */
json_t *an_settings_json(const an_settings *s); /* new reference; NULL when out of memory */

/* ---------------------------------------------------------------------------------------------------- client */

typedef enum an_clock_kind { AN_CLOCK_MONOTONIC, AN_CLOCK_REALTIME, AN_CLOCK_PARENT } an_clock_kind;

typedef struct an_hello {
    char driver[64], driver_version[64], engine[64], engine_version[64];
    char *library; /* NULL when none */
    bool reads_gguf, reads_mlx;
    an_clock_kind clock;
    double clock_resolution_ns;
    bool logits, tokenize, stream, cancel, ids, fixed_length, sampling, threads, flash_attn, step, draft;
    json_t *raw; /* the whole message */
} an_hello;

typedef struct an_client an_client;

typedef struct an_client_options {
    uint64_t timeout_ns;     /* no line for this long is a hang; 0 = 600 s */
    const char *const *env;  /* over our environment, or NULL */
} an_client_options;

/*
 * Start a worker and take its hello. Gives *out: an_client_close. Failures: ERR_ENGINE with signal or exit code and
 * the tail of its stderr in the message.
 */
ANEMO_MUST_CHECK anemo_status an_client_open(an_client **out, const char *const *argv,
                                             const an_client_options *o, anemo_error *err);
void an_client_close(an_client *c); /* quit, wait a little, kill; NULL is fine */

const an_hello *an_client_hello(const an_client *c);
int64_t an_client_pid(const an_client *c);
const char *an_client_stderr_tail(const an_client *c); /* last 4 KiB at most; borrowed until the next call */
void an_client_pause(an_client *c);
void an_client_continue(an_client *c);

typedef struct an_load_result {
    double load_s; /* NaN when the driver cannot know */
    json_t *effective; /* owned: an_load_result_free */
    json_t *notes;     /* array of sentences for the user, or NULL; owned */
    char format[16], quantization[48];
    int n_vocab, n_ctx_train;
    /* What the engine says of the model in its own words; "" and 0 where it says nothing. */
    char description[64];
    uint64_t bytes, n_param;
} an_load_result;
void an_load_result_free(an_load_result *r);
/* What the worker's load gave; zeros before it. Borrowed. */
const an_load_result *an_client_loaded(const an_client *c);

/* A name that the caller gives a worker, to know later what it serves; "" before. The client keeps a copy. ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_client_set_tag(an_client *c, const char *tag, anemo_error *err);
const char *an_client_tag(const an_client *c);

ANEMO_MUST_CHECK anemo_status an_client_load(an_client *c, const char *model, const an_settings *s,
                                             an_load_result *out, anemo_error *err);

typedef struct an_generate_request {
    const int32_t *prompt_ids;
    size_t n_prompt;
    const char *prompt_text; /* for drivers without ids */
    int n_predict;
    bool fixed_length;
    const int32_t *stop_ids;
    size_t n_stop;
    double temperature, top_p, min_p, repeat_penalty;
    int top_k;
    uint64_t seed;
    /*
     * Called for each token as it arrives (asks for streaming); NULL for a timed repetition. Non-zero cancels.
     * text is NULL when ids came, id is -1 when only text came.
     */
    int (*on_token)(void *ctx, int32_t id, const char *text);
    void *on_token_ctx;
    const volatile int *stop; /* polled; non-zero cancels; may be NULL */
    /* Called about every wait_ns while the answer is waited for, to look at the worker meanwhile; NULL in timed work. */
    void (*on_wait)(void *ctx);
    void *on_wait_ctx;
    uint64_t wait_ns;
} an_generate_request;

typedef struct an_generation {
    int32_t *ids; /* [n]; -1 where the engine gave no id */
    double *t_s;  /* [n] seconds since the request's work began */
    size_t n;
    char stop_reason[16]; /* "length", "eos", "cancelled" */
    char *text;           /* only when the engine gave text; else NULL */
    json_t *notes;        /* array or NULL */
    /* Speculative decoding: passes after the prompt's, ids drafted and kept; n_pass 0 = plain. */
    uint64_t n_pass, n_drafted, n_accepted;
} an_generation;
void an_generation_free(an_generation *g);

ANEMO_MUST_CHECK anemo_status an_client_generate(an_client *c, const an_generate_request *r,
                                                 an_generation *out, anemo_error *err);

/* Forward passes over random ids, without sampler and tokenizer: what llama-bench times. */
typedef struct an_step_request {
    int n_prompt;            /* ids of a prompt, in passes of the batch size */
    int n_gen;               /* single steps after it */
    int n_depth;             /* positions that the sequence holds before the clock starts */
    uint64_t seed;           /* of the ids */
    const volatile int *stop; /* polled; non-zero cancels: ERR_INTERRUPTED; may be NULL */
} an_step_request;

typedef struct an_step_result {
    double prompt_s; /* of the prompt's passes; 0 without a prompt */
    double total_s;  /* of all timed passes, > 0 */
    double *t_s;     /* [n] ends of the single steps since the begin; n = n_gen, or 0 when the driver does not tell */
    size_t n;
} an_step_result;
void an_step_result_free(an_step_result *r);

/* ERR_UNSUPPORTED when the driver has no step measurement. Gives *out: an_step_result_free. */
ANEMO_MUST_CHECK anemo_status an_client_step(an_client *c, const an_step_request *r, an_step_result *out,
                                             anemo_error *err);

/* Gives ids[*n]: an_free. ERR_UNSUPPORTED when the driver has no tokenizer. */
ANEMO_MUST_CHECK anemo_status an_client_tokenize(an_client *c, const char *text, bool special,
                                                 int32_t **ids, size_t *n, anemo_error *err);

/* Gives float32 [n_ids][*n_vocab]: an_free. ERR_UNSUPPORTED when the driver gives none. */
ANEMO_MUST_CHECK anemo_status an_client_logits(an_client *c, const int32_t *ids, size_t n_ids, float **out,
                                               int *n_vocab, anemo_error *err);

/*
 * Why a worker failed, for a cell's `reason`: its own error, or signal or exit code, or "no answer for 600 s", then the
 * tail of its stderr. Appends one or more lines to out.
 */
void an_client_describe_failure(an_client *c, const anemo_error *err, an_str *out);

/*
 * The conformance test of `anemo worker --check`: runs every rule of the protocol that can be seen from outside and
 * appends a line "ok …" or "FAILED …" to the report for each. Returns the number of failures, -1 when it could not
 * start.
 */
int an_protocol_check(const char *const *argv, const char *model, an_str *report);

#endif

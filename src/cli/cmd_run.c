/* anemo run: a model's answer to a prompt, streamed, with its timing. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"
#include "drivers/driver.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/process.h"
#include "record/rep.h"
#include "token/tokenizer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PROMPT_LIMIT ((uint64_t)64 << 20)

typedef struct run_args {
    const char *prompt, *file, *prompt_ids, *engine, *device, *url, *draft;
    int64_t draft_n, n_predict, top_k, seed, threads, ngl, timeout_s;
    double temperature, top_p, min_p, repeat_penalty;
    bool raw, ignore_eos, json;
    an_cli_layout layout;
} run_args;

#define FIELD(name) offsetof(run_args, name)

static const an_option options[] = {
    {.name = "prompt",
     .short_name = "p",
     .kind = AN_OPT_STR,
     .offset = FIELD(prompt),
     .arg = "TEXT",
     .help = "The prompt (default: \"Who invented the light bulb?\")"},
    {.name = "file",
     .short_name = "f",
     .kind = AN_OPT_STR,
     .offset = FIELD(file),
     .arg = "FILE",
     .help = "Read the prompt from FILE"},
    {.name = "prompt-ids",
     .kind = AN_OPT_STR,
     .offset = FIELD(prompt_ids),
     .arg = "IDS",
     .help = "Token ids to send as they are: a list 1,2,3 or a file with a JSON array"},
    {.name = "n-predict",
     .short_name = "n",
     .kind = AN_OPT_I64,
     .offset = FIELD(n_predict),
     .min = 1,
     .max = 1 << 24,
     .arg = "N",
     .help = "Tokens to generate at most (default: 256)"},
    {.name = "engine",
     .kind = AN_OPT_STR,
     .offset = FIELD(engine),
     .arg = "E",
     .help = "native (default), llama.cpp, llama-cpp-python, mlx, mlx-lm or http"},
    {.name = "temp",
     .kind = AN_OPT_F64,
     .offset = FIELD(temperature),
     .min = 0,
     .max = 1000,
     .arg = "T",
     .help = "Temperature; 0 takes the most likely token (default: 0)"},
    {.name = "top-k",
     .kind = AN_OPT_I64,
     .offset = FIELD(top_k),
     .min = 0,
     .max = 1 << 30,
     .arg = "K",
     .help = "Draw from the K most likely tokens; 0 = off"},
    {.name = "top-p",
     .kind = AN_OPT_F64,
     .offset = FIELD(top_p),
     .min = 1e-9,
     .max = 1,
     .arg = "P",
     .help = "Draw from the most likely tokens that hold P of the probability; 1 = off"},
    {.name = "min-p",
     .kind = AN_OPT_F64,
     .offset = FIELD(min_p),
     .min = 0,
     .max = 1,
     .arg = "P",
     .help = "Leave out tokens below P times the most likely one's probability; 0 = off"},
    {.name = "repeat-penalty",
     .kind = AN_OPT_F64,
     .offset = FIELD(repeat_penalty),
     .min = 1e-3,
     .max = 1000,
     .arg = "R",
     .help = "Penalty of tokens among the last 64; 1 = off"},
    {.name = "seed",
     .kind = AN_OPT_I64,
     .offset = FIELD(seed),
     .min = 0,
     .max = 9007199254740992.0,
     .arg = "N",
     .help = "Seed of the draws (default: 0)"},
    {.name = "draft",
     .kind = AN_OPT_STR,
     .offset = FIELD(draft),
     .arg = "D",
     .help = "Draft tokens and verify them: ngram (from earlier text), or a small model; same output, native only"},
    {.name = "draft-n",
     .kind = AN_OPT_I64,
     .offset = FIELD(draft_n),
     .min = 1,
     .max = 15,
     .arg = "N",
     .help = "Tokens drafted at once at most (default: 15)"},
    AN_ROW_THREADS(FIELD(threads)),
    AN_ROW_DEVICE(FIELD(device)),
    AN_ROW_GPU_LAYERS(FIELD(ngl)),
    AN_ROWS_LAYOUT(FIELD(layout)),
    {.name = "raw",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(raw),
     .help = "Send the prompt without the chat template"},
    {.name = "ignore-eos",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(ignore_eos),
     .help = "Go on after an end-of-generation id, for exactly N tokens"},
    {.name = "json",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(json),
     .help = "Print one JSON object instead of the text"},
    {.name = "url",
     .kind = AN_OPT_STR,
     .offset = FIELD(url),
     .arg = "URL",
     .help = "Address of the server, for http"},
    AN_ROW_TIMEOUT(FIELD(timeout_s)),
    AN_OPTION_END,
};

/* Everything one run needs; zero-initialised, freed with job_free. */
typedef struct job {
    const run_args *args;
    const an_engine_info *engine;
    char *model;
    char *draft; /* "ngram", a path, or NULL */
    an_tokenizer *tokenizer; /* NULL with http */
    an_ids prompt, stops;
    char *text; /* the prompt as text, for engines that take no ids */
    an_client *client;
    an_str pending; /* bytes that are not yet whole characters */
    bool write_failed;
} job;

static void job_free(job *j)
{
    an_client_close(j->client);
    an_tokenizer_close(j->tokenizer);
    an_ids_free(&j->prompt);
    an_ids_free(&j->stops);
    an_str_free(&j->pending);
    an_free(j->text);
    an_free(j->model);
    an_free(j->draft);
}

static anemo_status take_prompt_ids(job *j, anemo_error *err)
{
    anemo_status status = an_cli_read_ids("--prompt-ids", j->args->prompt_ids, &j->prompt.ids, &j->prompt.n, err);
    for (size_t i = 0; status == ANEMO_OK && j->tokenizer && i < j->prompt.n; i++)
        if (j->prompt.ids[i] >= an_tokenizer_n_vocab(j->tokenizer))
            status = an_fail(err, ANEMO_ERR_INVAL, "--prompt-ids: %" PRId32 " is not an id of this vocabulary",
                             j->prompt.ids[i]);
    return status;
}

/* The ids of the prompt: through the chat template when the model has one that we render, else as
 * plain text. */
static anemo_status encode_prompt(job *j, anemo_error *err)
{
    const an_tokenizer *t = j->tokenizer;
    an_chat_format format = an_tokenizer_chat_format(t);
    anemo_status status = ANEMO_OK;
    if (!j->args->raw && format != AN_CHAT_NONE && format != AN_CHAT_UNKNOWN) {
        const an_chat_message message = {"user", j->text};
        return an_tokenizer_chat(t, &message, 1, &j->prompt, err);
    }
    if (!j->args->raw && format == AN_CHAT_UNKNOWN)
        fprintf(stderr, "anemo run: note: the model's chat template is not one that anemo renders; "
                        "the prompt is sent "
                        "as it is\n");
    if (an_tokenizer_add_bos(t) && an_tokenizer_bos(t) >= 0)
        AN_TRY(an_ids_push(&j->prompt, an_tokenizer_bos(t), err));
    AN_TRY(an_tokenizer_encode(t, j->text, strlen(j->text), false, &j->prompt, err));
    if (j->prompt.n == 0) return an_fail(err, ANEMO_ERR_INVAL, "the prompt is empty");
cleanup:
    return status;
}

static anemo_status get_prompt(job *j, anemo_error *err)
{
    const run_args *a = j->args;
    anemo_status status = ANEMO_OK;
    size_t n;
    if ((a->prompt != NULL) + (a->file != NULL) + (a->prompt_ids != NULL) > 1)
        return an_fail(err, ANEMO_ERR_INVAL, "give one of -p, -f and --prompt-ids");
    if (a->file) {
        AN_TRY(an_file_read(a->file, PROMPT_LIMIT, &j->text, &n, err));
        if (memchr(j->text, '\0', n))
            return an_fail(err, ANEMO_ERR_INVAL, "%s: holds a NUL byte", a->file);
    } else if (!a->prompt_ids) {
        j->text = an_strdup(a->prompt ? a->prompt : "Who invented the light bulb?");
        if (!j->text) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    if (a->prompt_ids) return take_prompt_ids(j, err);
    if (j->tokenizer) return encode_prompt(j, err);
cleanup:
    return status;
}

static anemo_status get_stops(job *j, anemo_error *err)
{
    if (!j->tokenizer || j->args->ignore_eos) return ANEMO_OK;
    for (int32_t id = 0; id < an_tokenizer_n_vocab(j->tokenizer); id++) {
        if (!an_tokenizer_is_eog(j->tokenizer, id)) continue;
        anemo_status status = an_ids_push(&j->stops, id, err);
        if (status != ANEMO_OK) return status;
    }
    return ANEMO_OK;
}

/* Print what of `pending` is whole characters; with `all`, the rest too. */
static int flush_text(job *j, bool all)
{
    size_t n =
        all ? j->pending.len
            : j->pending.len - an_utf8_incomplete_tail(an_str_text(&j->pending), j->pending.len);
    if (n == 0) return 0;
    if (fwrite(j->pending.data, 1, n, stdout) != n || fflush(stdout) != 0) {
        j->write_failed = true;
        return 1;
    }
    memmove(j->pending.data, j->pending.data + n, j->pending.len - n);
    j->pending.len -= n;
    return 0;
}

static bool is_stop(const job *j, int32_t id)
{
    for (size_t i = 0; i < j->stops.n; i++)
        if (j->stops.ids[i] == id) return true;
    return false;
}

static int on_token(void *ctx, int32_t id, const char *text)
{
    job *j = ctx;
    if (text)
        an_str_append(&j->pending, text);
    else if (id >= 0 && j->tokenizer && !is_stop(j, id))
        an_tokenizer_piece(j->tokenizer, id, false, &j->pending);
    return flush_text(j, false);
}

static anemo_status open_engine(job *j, anemo_error *err)
{
    const run_args *a = j->args;
    anemo_status status = ANEMO_OK;
    char **argv = NULL;
    an_load_result loaded = {0};
    an_settings s = an_settings_default();
    size_t need = j->prompt.n + (size_t)a->n_predict;
    if (need > 1 << 28) return an_fail(err, ANEMO_ERR_INVAL, "the prompt is too long");
    s.n_ctx = (int)need;
    if (a->threads) s.threads = s.threads_batch = (int)a->threads;
    if (a->device) s.device = a->device;
    s.n_gpu_layers = (int)a->ngl;
    AN_TRY(an_cli_use_layout(&a->layout, &s, err));
    s.draft = j->draft;
    s.draft_n = (int)a->draft_n;
    const an_client_options o = {.timeout_ns = (uint64_t)a->timeout_s * 1000000000u};
    AN_TRY(an_engine_command(j->engine, a->url, &argv, err));
    AN_TRY(an_client_open(&j->client, (const char *const *)argv, &o, err));
    AN_TRY(an_client_load(j->client, j->model, &s, &loaded, err));
    for (size_t i = 0; i < json_array_size(loaded.notes); i++)
        fprintf(stderr, "anemo run: note: %s\n", json_string_value(json_array_get(loaded.notes, i)));
cleanup:
    an_load_result_free(&loaded);
    an_argv_free(argv);
    return status;
}

/* What the ids say, for the record: without the id that ended it. */
static anemo_status fill_text(job *j, const an_generation *g, an_rep *rep, anemo_error *err)
{
    an_str text = {0};
    if (g->text)
        an_str_append(&text, g->text);
    else if (j->tokenizer) {
        size_t n = g->n > 0 && is_stop(j, g->ids[g->n - 1]) ? g->n - 1 : g->n;
        an_tokenizer_decode(j->tokenizer, g->ids, n, false, true, &text);
    }
    rep->text_bytes = text.len;
    rep->text = an_str_take(&text);
    return rep->text ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

static void note_process(an_rep *rep, const an_process_stat *before, const an_process_stat *after,
                         bool reset)
{
    rep->values[AN_FIELD_ID_cpu_s] = (double)(after->cpu_ns - before->cpu_ns) * 1e-9;
    if (reset) rep->values[AN_FIELD_ID_rss_peak_bytes] = (double)after->rss_peak_bytes;
    rep->values[AN_FIELD_ID_rss_anon_bytes] = (double)after->rss_anon_bytes;
    rep->values[AN_FIELD_ID_rss_file_bytes] = (double)after->rss_file_bytes;
}

static anemo_status generate(job *j, const volatile int *stop, an_rep *rep, anemo_error *err)
{
    const run_args *a = j->args;
    anemo_status status = ANEMO_OK;
    an_generation g = {0};
    an_process_stat before, after;
    int64_t pid = an_client_pid(j->client);
    const an_generate_request r = {
        .prompt_ids = j->prompt.ids,
        .n_prompt = j->prompt.n,
        .prompt_text = j->text,
        .n_predict = (int)a->n_predict,
        .fixed_length = a->ignore_eos,
        .stop_ids = j->stops.ids,
        .n_stop = j->stops.n,
        .temperature = a->temperature,
        .top_k = (int)a->top_k,
        .top_p = a->top_p,
        .min_p = a->min_p,
        .repeat_penalty = a->repeat_penalty,
        .seed = (uint64_t)a->seed,
        .on_token = a->json ? NULL : on_token,
        .on_token_ctx = j,
        .stop = stop,
    };
    bool known = an_process_stat_read(pid, &before, NULL) == ANEMO_OK && j->tokenizer;
    bool reset = known && an_process_reset_peak(pid);
    AN_TRY(an_client_generate(j->client, &r, &g, err));
    known = known && an_process_stat_read(pid, &after, NULL) == ANEMO_OK;
    if (j->tokenizer) /* else only the server knows */
        rep->values[AN_FIELD_ID_n_prompt] = (double)j->prompt.n;
    if (known) note_process(rep, &before, &after, reset);
    an_rep_set_drafts(rep, g.n, g.n_pass, g.n_drafted, g.n_accepted);
    for (size_t i = 0; j->tokenizer && i < g.n; i++) {
        if (g.ids[i] < 0 || !an_tokenizer_is_eog(j->tokenizer, g.ids[i])) continue;
        rep->values[AN_FIELD_ID_eos_at] = (double)i;
        break;
    }
    AN_TRY(fill_text(j, &g, rep, err));
    snprintf(rep->stop_reason, sizeof rep->stop_reason, "%s", g.stop_reason);
    rep->token_ids = g.ids;
    rep->token_times_s = g.t_s;
    rep->n_token = g.n;
    g.ids = NULL;
    g.t_s = NULL;
    an_rep_derive(rep, an_cpu_online());
cleanup:
    an_generation_free(&g);
    return status;
}

static void print_timing(const job *j, const an_rep *rep)
{
    const double *v = rep->values;
    fprintf(stderr, "\n%s: ", j->engine->name);
    if (j->tokenizer) fprintf(stderr, "%zu prompt tokens, ", j->prompt.n);
    fprintf(stderr, "first token after %.3f s", v[AN_FIELD_ID_ttft_s]);
    if (isfinite(v[AN_FIELD_ID_prefill_tps]))
        fprintf(stderr, " (%.1f tokens/s)", v[AN_FIELD_ID_prefill_tps]);
    fprintf(stderr, "; %zu generated in %.3f s", rep->n_token, v[AN_FIELD_ID_total_s]);
    if (isfinite(v[AN_FIELD_ID_decode_tps]))
        fprintf(stderr, ", decode %.1f tokens/s", v[AN_FIELD_ID_decode_tps]);
    if (isfinite(v[AN_FIELD_ID_tokens_per_pass]))
        fprintf(stderr, ", %.2f tokens a pass (%.0f of %.0f drafted ones kept)", v[AN_FIELD_ID_tokens_per_pass],
                v[AN_FIELD_ID_n_accepted], v[AN_FIELD_ID_n_drafted]);
    if (isfinite(v[AN_FIELD_ID_rss_peak_bytes]))
        fprintf(stderr, ", memory %.0f MB", v[AN_FIELD_ID_rss_peak_bytes] / 1e6);
    fprintf(stderr, "%s\n", strcmp(rep->stop_reason, "eos") == 0 ? ", ended by the model" : "");
}

static anemo_status check_engine(job *j, const char *model, anemo_error *err)
{
    const char *name = j->args->engine ? j->args->engine : j->args->url ? "http" : "native";
    anemo_status status = ANEMO_OK;
    if (j->args->device) AN_TRY(an_cli_one_of("--device", j->args->device, an_cli_devices, err));
    if (!strcmp(name, "http")) {
        if (j->args->draft)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "--draft: a server decides by itself how it decodes; the native engine drafts");
        j->engine = an_engine_find(name);
        j->model = an_strdup(model);
        return j->model ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    AN_TRY(an_cli_model_path(model, &j->model, err));
    AN_TRY(an_cli_draft(j->args->draft, &j->draft, err));
    AN_TRY(an_cli_engine_for(name, j->model, &j->engine, err));
    if (j->draft && !j->engine->drafts) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "--draft: %s has no speculative decoding; the native engine has it",
                         j->engine->name);
        goto cleanup;
    }
    AN_TRY(an_tokenizer_open(&j->tokenizer, j->model, err));
cleanup:
    return status;
}

static int run(int argc, char **argv);

const an_command an_cmd_run = {
    .name = "run",
    .args = "MODEL",
    .summary = "Let a model answer a prompt",
    .details =
        "The text goes to stdout, the timing to stderr. MODEL is a GGUF file, a model directory or "
        "the name of a\n"
        "model in the models folder; with --engine http it is the server's name for its model.",
    .options = options,
    .args_bytes = sizeof(run_args),
    .run = run,
};

static int run(int argc, char **argv)
{
    run_args args = {
        .n_predict = 256, .top_p = 1, .repeat_penalty = 1, .ngl = -1, .timeout_s = 600};
    an_positional pos;
    anemo_error err = {0};
    an_rep rep;
    bool help;
    job j = {.args = &args};
    const volatile int *stop = an_interrupts_watch();
    anemo_status status = an_options_parse(&an_cmd_run, argc, argv, &args, &pos, &help, &err);
    if (status != ANEMO_OK) return an_cli_fail("run", &err);
    an_rep_init(&rep);
    if (help) goto cleanup;
    if (pos.n != 1) {
        status = an_fail(&err, ANEMO_ERR_INVAL, "expected one model; 'anemo run --help' explains");
        goto cleanup;
    }
    AN_TRY(check_engine(&j, pos.items[0], &err));
    AN_TRY(get_prompt(&j, &err));
    AN_TRY(get_stops(&j, &err));
    AN_TRY(open_engine(&j, &err));
    AN_TRY(generate(&j, stop, &rep, &err));
    if (args.json) {
        AN_TRY(an_cli_print_json(an_rep_json(&rep), JSON_COMPACT, &err));
    } else {
        flush_text(&j, true);
        if (j.write_failed) status = an_fail_errno(&err, errno, "write", "stdout");
        print_timing(&j, &rep);
    }
    if (status == ANEMO_OK && *stop) status = an_fail(&err, ANEMO_ERR_INTERRUPTED, "interrupted");
cleanup:
    an_rep_free(&rep);
    job_free(&j);
    an_options_free(&an_cmd_run, &args, &pos);
    if (status == ANEMO_OK) return 0;
    int rc = an_cli_fail("run", &err);
    return status == ANEMO_ERR_INTERRUPTED && *stop ? 128 + *stop : rc;
}

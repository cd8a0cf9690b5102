/* anemo bench: llama-bench's measurement and flags, for every engine that has a step measurement. */
#include "cli/arguments.h"
#include "cli/bench_flags.h"
#include "cli/commands.h"
#include "cli/keeper.h"
#include "cli/quote.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench/bench_plan.h"
#include "bench/cell_run.h"
#include "bench/environment.h"
#include "bench/figures.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/terminal.h"
#include "report/llama_bench.h"
#include "stats/sequential.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static int run_verb(int argc, char **argv);

const an_command an_cmd_bench = {
    .name = "bench",
    .args = "-m MODEL",
    .summary = "Time forward passes as llama-bench does (pp512, tg128, …), on every engine",
    .details = "A list is 1,2,8 or a flag given again; a range is first-last, first-last+step or first-last*factor. Every\n"
               "combination is a test. The figure is llama-bench's: tokens over the time of their forward passes with random\n"
               "ids, no tokenizer, no sampler. Its other flags are refused by name unless they ask for what anemo does anyway\n"
               "(docs/bench.md has the table). The exit status is 1 when a test failed.",
    .options = an_bench_options,
    .args_bytes = sizeof(an_bench_args),
    .run = run_verb,
};

/* One run of the verb. */
typedef struct bench {
    const an_bench_args *a;
    an_bench_values values;
    an_run run;
    an_bench_point *points;
    an_meter *meter;
    an_keeper keeper;
    an_llama_bench out, out_err;
    an_progress *progress;
    const volatile int *stop;
    size_t at; /* the cell that is measured */
    uint64_t begin_ns;
    bool noticed[256]; /* notices that were given, by engine and flag */
} bench;

static anemo_status print(const an_str *text, FILE *to, anemo_error *err)
{
    if (text->len == 0) return ANEMO_OK;
    if (fwrite(text->data, 1, text->len, to) != text->len || fflush(to) != 0)
        return an_fail(err, ANEMO_ERR_IO, "the result cannot be written to %s", to == stdout ? "stdout" : "stderr");
    return ANEMO_OK;
}

static void show_progress(void *ctx, const char *what)
{
    bench *b = ctx;
    char line[320];
    snprintf(line, sizeof line, "benchmark %zu/%zu: %s", b->at + 1, b->run.n_cell, what);
    if (b->a->progress)
        fprintf(stderr, "anemo bench: %s\n", line);
    else
        an_progress_line(b->progress, line);
}

static anemo_status rep_done(void *ctx, anemo_error *err)
{
    bench *b = ctx;
    (void)err;
    an_keeper_cell(&b->keeper, &b->run, b->at);
    return ANEMO_OK;
}

/* ---- models and engines */

static anemo_status add_model(bench *b, const char *name, anemo_error *err)
{
    anemo_status status;
    an_container container;
    an_run_model *m = an_run_add_model(&b->run);
    if (!m) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_cli_model_path(name, &m->path, err));
    AN_TRY(an_run_model_describe(m, &container, err));
cleanup:
    return status;
}

static anemo_status add_models(bench *b, const char *const *names, size_t n, anemo_error *err)
{
    static const char *const usual[] = {"smollm2-135m-instruct-q4_1", "smollm2-135m-instruct-q4_1-mlx"};
    anemo_status status = ANEMO_OK;
    const an_opt_list *lists[] = {&b->a->models, &b->a->hf, &b->a->hf_repo, &b->a->hfr};
    for (size_t l = 0; l < AN_COUNT_OF(lists); l++)
        for (size_t i = 0; i < lists[l]->n; i++) AN_TRY(add_model(b, lists[l]->items[i], err));
    for (size_t i = 0; i < n; i++) AN_TRY(add_model(b, names[i], err));
    for (size_t i = 0; i < AN_COUNT_OF(usual) && b->run.n_model <= i; i++) {
        char *path = NULL;
        if (an_model_resolve(usual[i], &path, NULL) != ANEMO_OK) break;
        an_free(path);
        AN_TRY(add_model(b, usual[i], err));
        if (i == 0 && lists[0]->n + lists[1]->n + lists[2]->n + lists[3]->n + n == 0) continue;
        break;
    }
    if (b->run.n_model == 0)
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "no model was named with -m, and %s is not in the models folder; ./quickstart brings it there", usual[0]);
cleanup:
    return status;
}

/* The engines that were named; else all that are here and read one of the models. Gives *out: an_free. */
static anemo_status choose_engines(const bench *b, const an_engine_info ***out, size_t *n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_opt_list *named = &b->a->engines;
    size_t room = named->n > an_engine_n() ? named->n : an_engine_n();
    const an_engine_info **list = an_calloc(room, sizeof *list);
    *n = 0;
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < named->n; i++) {
        const an_engine_info *e = an_engine_find(named->items[i]);
        if (!e) {
            status = an_fail(err, ANEMO_ERR_INVAL, "unknown engine '%.40s'; 'anemo doctor' lists them", named->items[i]);
            goto cleanup;
        }
        list[(*n)++] = e;
    }
    for (size_t i = 0; named->n == 0 && i < an_engine_n(); i++) {
        const an_engine_info *e = an_engine_at(i);
        char **argv = NULL;
        if (!e->reads_gguf && !e->reads_mlx) continue;
        anemo_status found = an_engine_command(e, NULL, &argv, err);
        if (found == ANEMO_ERR_NOMEM) status = found;
        if (status != ANEMO_OK) goto cleanup;
        if (found != ANEMO_OK) continue;
        an_argv_free(argv);
        list[(*n)++] = e;
    }
    *out = list;
    list = NULL;
cleanup:
    an_free(list);
    return status;
}

/* ---- what was asked and what an engine made of it */

static void notice(bench *b, size_t which, const char *engine, const char *flag, const char *what)
{
    size_t slot = which;
    for (const char *p = engine; *p; p++) slot = slot * 31 + (unsigned char)*p;
    slot %= AN_COUNT_OF(b->noticed);
    if (b->noticed[slot] || b->a->quiet) return;
    b->noticed[slot] = true;
    an_progress_end(b->progress);
    b->progress = NULL;
    fprintf(stderr, "anemo bench: %s: %s %s\n", engine, flag, what);
}

/* A flag that the engine took no notice of is told, once for each engine. */
static void tell_ignored(bench *b, const an_cell *cell)
{
    static const struct {
        const char *key, *flag;
        size_t given;
    } flags[] = {{"threads", "-t", offsetof(an_bench_args, threads)},
                 {"n_ubatch", "-ub", offsetof(an_bench_args, n_ubatch)},
                 {"flash_attn", "-fa", offsetof(an_bench_args, flash_attn)},
                 {"n_gpu_layers", "-ngl", offsetof(an_bench_args, ngl)},
                 {"kv_type", "-ctk", offsetof(an_bench_args, ctk)},
                 {"kv_type_v", "-ctv", offsetof(an_bench_args, ctv)}};
    if (cell->status != AN_CELL_OK) return;
    for (size_t i = 0; i < AN_COUNT_OF(flags); i++) {
        const an_opt_list *given = (const an_opt_list *)((const char *)b->a + flags[i].given);
        const json_t *asked = json_object_get(cell->settings, flags[i].key);
        const json_t *took = json_object_get(cell->effective, flags[i].key);
        if (given->n == 0 || !asked || json_equal(asked, took)) continue;
        /* A step is never cut smaller than the batch that it is part of, and -1 and auto ask for nothing in particular. */
        if (!strcmp(flags[i].key, "n_ubatch") && json_is_integer(took) &&
            json_integer_value(took) < json_integer_value(asked)) continue;
        if (json_is_integer(asked) && json_integer_value(asked) < 0) continue;
        if (json_is_string(asked) && !strcmp(json_string_value(asked), "auto")) continue;
        if (!took || json_is_null(took))
            notice(b, i, cell->engine, flags[i].flag, "has no effect: this engine decides it by itself");
        else if (json_is_string(took)) {
            char what[80];
            snprintf(what, sizeof what, "has no effect: this engine used %.30s", json_string_value(took));
            notice(b, i, cell->engine, flags[i].flag, what);
        } else {
            char what[80];
            snprintf(what, sizeof what, "has no effect: this engine used %lld", (long long)json_integer_value(took));
            notice(b, i, cell->engine, flags[i].flag, what);
        }
    }
}

/* ---- measuring */

static void cool_off(const bench *b)
{
    uint64_t left = (uint64_t)(b->a->delay_s * 1e9);
    while (left > 0 && !(b->stop && *b->stop)) {
        uint64_t part = left < 100000000u ? left : 100000000u;
        an_clock_sleep_ns(part);
        left -= part;
    }
}

static anemo_status write_row(bench *b, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    AN_TRY(an_llama_bench_row(&b->out, &b->run, b->at, &text, err));
    AN_TRY(print(&text, stdout, err));
    an_str_clear(&text);
    AN_TRY(an_llama_bench_row(&b->out_err, &b->run, b->at, &text, err));
    AN_TRY(print(&text, stderr, err));
cleanup:
    an_str_free(&text);
    return status;
}

/* n_rep repetitions of the cell b->at; `block` is that of the first one, -1: they are in none. */
static anemo_status run_cell(bench *b, int n_rep, int n_warmup, int block, an_client **client, anemo_error *err)
{
    static const int nice_of[] = {5, 0, -5, -10, -20}; /* --prio -1 to 3, as llama-bench has them */
    anemo_status status = ANEMO_OK;
    const an_bench_point *point = &b->points[b->at];
    uint8_t mask[AN_CPU_MASK_BYTES];
    int n_cpu;
    AN_TRY(an_grammar_cpu_mask("-C", point->mask, mask, &n_cpu, err));
    const an_cell_job job = {.engine = point->engine,
                             .settings = point->settings,
                             .n_rep = n_rep,
                             .n_warmup = n_warmup,
                             .block = block,
                             .seed = (uint64_t)b->a->seed,
                             .timeout_ns = (uint64_t)b->a->timeout_s * 1000000000u,
                             .begin_ns = b->begin_ns,
                             .priority = nice_of[b->a->prio + 1],
                             .cpu_mask = n_cpu ? mask : NULL,
                             .cpu_mask_bytes = n_cpu ? sizeof mask : 0,
                             .meter = b->meter,
                             .stop = b->stop,
                             .progress = b->a->quiet ? NULL : show_progress,
                             .progress_ctx = b,
                             .rep_done = rep_done,
                             .rep_done_ctx = b};
    cool_off(b);
    AN_TRY(an_cell_run(&job, &b->run, b->at, client, err));
    an_keeper_cell(&b->keeper, &b->run, b->at);
cleanup:
    return status;
}

/* The row of the cell b->at, which is over. */
static anemo_status show_cell(bench *b, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_cell *cell = &b->run.cells[b->at];
    if (b->a->verbose && cell->stderr_tail) fprintf(stderr, "%s\n", cell->stderr_tail);
    if (cell->status == AN_CELL_PENDING) goto cleanup;
    an_progress_end(b->progress);
    b->progress = NULL;
    tell_ignored(b, cell);
    AN_TRY(write_row(b, err));
    if (!b->a->quiet && !b->a->progress && an_terminal_is(2)) b->progress = an_progress_begin(2, false);
cleanup:
    return status;
}

/* llama-bench's order: all repetitions of a cell, then the next one. */
static anemo_status measure_in_turn(bench *b, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_client *client = NULL;
    for (b->at = 0; b->at < b->run.n_cell && !b->run.interrupted; b->at++) {
        AN_TRY(run_cell(b, (int)b->a->n_rep, b->a->no_warmup ? 0 : 1, -1, &client, err));
        AN_TRY(show_cell(b, err));
    }
cleanup:
    an_client_close(client);
    return status;
}

/* One repetition of every cell that has not failed, in this order. Workers that are kept wait stopped for their turn. */
static anemo_status measure_block(bench *b, int block, const size_t *order, an_client **clients, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < b->run.n_cell && !(b->stop && *b->stop); i++) {
        b->at = order[i];
        an_client **client = &clients[b->at];
        an_cell_status before = b->run.cells[b->at].status;
        if (before != AN_CELL_PENDING && before != AN_CELL_OK) continue;
        if (*client) an_client_continue(*client);
        AN_TRY(run_cell(b, 1, *client || b->a->no_warmup ? 0 : 1, block, client, err));
        if (*client && b->run.kept_loaded) an_client_pause(*client);
        if (b->run.kept_loaded) continue;
        an_client_close(*client);
        *client = NULL;
    }
    b->run.interrupted = b->stop && *b->stop;
    if (!b->run.interrupted) b->run.n_block = block + 1;
cleanup:
    return status;
}

/* --interleave: blocks with each cell once, in an order drawn anew, as compare has them; rows when all is done. */
static anemo_status measure_in_blocks(bench *b, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n = b->run.n_cell;
    an_rng rng;
    an_client **clients = an_calloc(n, sizeof *clients);
    size_t *order = an_calloc(n, sizeof *order);
    if (!clients || !order) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    an_rng_seed(&rng, (uint64_t)b->a->seed);
    b->run.kept_loaded = an_cells_fit(&b->run);
    for (int block = 0; block < b->a->n_rep && !b->run.interrupted; block++) {
        an_block_order(&rng, n, order);
        AN_TRY(measure_block(b, block, order, clients, err));
    }
    for (b->at = 0; b->at < n; b->at++) AN_TRY(show_cell(b, err));
cleanup:
    for (size_t i = 0; clients && i < n; i++) an_client_close(clients[i]);
    an_free(clients);
    an_free(order);
    return status;
}

static anemo_status measure(bench *b, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    if (!b->a->quiet && !b->a->progress && an_terminal_is(2)) b->progress = an_progress_begin(2, false);
    AN_TRY(b->a->interleave ? measure_in_blocks(b, err) : measure_in_turn(b, err));
    an_progress_end(b->progress);
    b->progress = NULL;
    AN_TRY(an_llama_bench_end(&b->out, &b->run, &text, err));
    AN_TRY(print(&text, stdout, err));
    an_str_clear(&text);
    AN_TRY(an_llama_bench_end(&b->out_err, &b->run, &text, err));
    AN_TRY(print(&text, stderr, err));
cleanup:
    an_str_free(&text);
    return status;
}

/* ---- the run */

static anemo_status begin_run(bench *b, int argc, char **argv, anemo_error *err)
{
    an_rng rng;
    an_run_init(&b->run);
    b->begin_ns = an_clock_ns();
    an_rng_seed(&rng, an_clock_realtime_ns() ^ b->begin_ns);
    an_run_new_id(an_clock_realtime_ns(), an_rng_u64(&rng), b->run.id);
    snprintf(b->run.kind, sizeof b->run.kind, "bench");
    char *command = an_cli_quote_command(argc, argv);
    anemo_status status = command ? an_keeper_describe(&b->run, command, b->a->note, &b->a->tags, err)
                                  : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_free(command);
    if (status != ANEMO_OK) return status;
    b->run.workload = json_pack("{s:s, s:i, s:i, s:b, s:f, s:i, s:I}", "kind", "step", "n_rep", (int)b->a->n_rep, "n_warmup",
                                b->a->no_warmup ? 0 : 1, "interleaved", b->a->interleave, "delay_s", b->a->delay_s, "prio",
                                (int)b->a->prio, "seed", (json_int_t)b->a->seed);
    return b->run.workload ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

static anemo_status open_meter(bench *b, anemo_error *err)
{
    int threads = 1;
    for (size_t i = 0; i < b->values.grid.threads.n; i++)
        if (b->values.grid.threads.v[i] > threads) threads = b->values.grid.threads.v[i];
    an_environment_read(&b->run.environment);
    const an_meter_options o = {.n_thread = threads,
                                .bandwidth = b->a->bandwidth,
                                .power_cmd = b->a->power_cmd,
                                .n_cpu = b->run.environment.cpus_online};
    anemo_status status = an_meter_open(&b->meter, &o, err);
    if (status != ANEMO_OK || b->a->no_probe) return status;
    an_meter_peaks(b->meter, &b->run.environment);
    for (size_t i = 0; i < b->values.grid.threads.n; i++)
        an_meter_peaks_with(b->meter, b->values.grid.threads.v[i], &b->run.environment);
    return status;
}

static anemo_status bench_all(bench *b, int argc, char **argv, const char *const *models, size_t n_model, int *exit_code,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    b->stop = an_interrupts_watch();
    AN_TRY(an_bench_read_flags(b->a, &b->values, err));
    b->out.format = b->values.format;
    b->out_err.format = b->values.format_err;
    AN_TRY(begin_run(b, argc, argv, err));
    AN_TRY(add_models(b, models, n_model, err));
    AN_TRY(choose_engines(b, &b->values.grid.engines, &b->values.grid.n_engine, err));
    b->values.grid.named = b->a->engines.n > 0;
    AN_TRY(an_bench_plan(&b->run, &b->values.grid, &b->points, err));
    json_object_set_new(b->run.workload, "settings", an_settings_json(&b->points[0].settings));
    AN_TRY(open_meter(b, err));
    if (!b->a->no_store) an_keeper_open(&b->keeper, "bench", b->a->db);
    an_keeper_begin(&b->keeper, &b->run);
    AN_TRY(measure(b, err));
    bool kept = an_keeper_finish(&b->keeper, &b->run);
    if (kept && !b->a->quiet && b->out_err.format == AN_LLAMA_BENCH_NONE)
        fprintf(stderr, "anemo bench: kept as run %s\n", b->run.id);
    *exit_code = an_run_exit_code(&b->run);
cleanup:
    an_progress_end(b->progress);
    an_keeper_close(&b->keeper);
    an_meter_close(b->meter);
    an_free(b->values.grid.engines);
    an_free(b->points);
    an_bench_values_free(&b->values);
    an_run_free(&b->run);
    return status;
}

static int run_verb(int argc, char **argv)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    int exit_code = 0;
    an_bench_args a = an_bench_defaults();
    char **words = an_bench_dashes(argc, argv);
    if (!words) {
        an_fail(&err, ANEMO_ERR_NOMEM, "out of memory");
        return an_cli_fail("bench", &err);
    }
    if (an_options_parse(&an_cmd_bench, argc, words, &a, &pos, &help, &err) != ANEMO_OK) {
        an_names_free(words);
        return an_cli_fail("bench", &err);
    }
    bench b = {.a = &a};
    anemo_status status = ANEMO_OK;
    if (!help && a.list_devices)
        status = an_bench_list_devices(&err);
    else if (!help)
        status = bench_all(&b, argc, argv, (const char *const *)pos.items, pos.n, &exit_code, &err);
    if (status != ANEMO_OK) exit_code = an_cli_fail("bench", &err);
    an_options_free(&an_cmd_bench, &a, &pos);
    an_names_free(words);
    return exit_code;
}

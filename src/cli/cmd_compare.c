/* anemo compare: the same work on every engine, side by side. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/gate_from.h"
#include "cli/keeper.h"
#include "cli/quote.h"
#include "cli/results_compare.h"

#include "base/alloc.h"
#include "base/json.h"
#include "bench/comparison.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/process.h"
#include "os/terminal.h"
#include "report/report.h"
#include "stats/sequential.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct compare_args {
    an_opt_list engines, threads, tags;
    const char *prompt, *prompt_ids, *format, *out, *json_out, *kv, *device, *compute, *flash_attn, *url, *color, *warmup, *budget, *draft,
        *power_cmd, *db, *note, *command, *gate_from;
    int64_t n_predict, n_rep, max_reps, draft_n, n_ctx, n_batch, n_ubatch, ngl, seed, timeout_s;
    double precision;
    bool raw, stop_eos, stock, quiet, cold, aa, gate, no_bandwidth, no_observe, no_store, all, plots;
    an_gate_args limits;
    an_cli_layout layout;
} compare_args;

/* What the options point to. */
typedef struct compare_lists {
    char **paths;
    int32_t *ids;
    size_t n_ids;
    int *threads;
    char *draft;
} compare_lists;

#define FIELD(name) offsetof(compare_args, name)

static const an_option options[] = {
    {"engine", "e", AN_OPT_LIST, FIELD(engines), 0, 0, "E,…", "Engines to run (default: all that read the models)"},
    {"prompt", "p", AN_OPT_STR, FIELD(prompt), 0, 0, "TEXT", "The prompt (default: Who invented the light bulb?)"},
    {"prompt-ids", NULL, AN_OPT_STR, FIELD(prompt_ids), 0, 0, "IDS", "Ids instead: a list 1,2,3 or a file with a JSON array"},
    {"n-predict", "n", AN_OPT_I64, FIELD(n_predict), 1, 1000000, "N", "Tokens to generate (50)"},
    {"reps", "r", AN_OPT_I64, FIELD(n_rep), 1, 1000, "N", "Exactly N timed repetitions of each cell, whatever they show"},
    {"precision", NULL, AN_OPT_F64, FIELD(precision), 0.01, 50, "P", "Without -r: percent to which ratios are to be known (1)"},
    {"max-reps", NULL, AN_OPT_I64, FIELD(max_reps), 1, 1000, "N", "Without -r: repetitions at most (30)"},
    {"budget", NULL, AN_OPT_STR, FIELD(budget), 0, 0, "TIME", "Without -r: begin no block that would end later: 90s, 10m (default), 1h"},
    {"warmup", NULL, AN_OPT_STR, FIELD(warmup), 0, 0, "N", "Warm-ups, a full prefill and 16 steps each: auto (default), or how many"},
    {"threads", "t", AN_OPT_LIST, FIELD(threads), 0, 0, "N,…", "Threads for prefill and decode, a cell for each (all usable CPUs)"},
    {"aa", NULL, AN_OPT_FLAG, FIELD(aa), 0, 0, NULL, "Measure one cell against itself: what this machine takes for a difference"},
    {"gate", NULL, AN_OPT_FLAG, FIELD(gate), 0, 0, NULL, "Measure the first cell twice; no verdicts where the two differ"},
    {"gate-from", NULL, AN_OPT_STR, FIELD(gate_from), 0, 0, "RUN", "The gate of a kept A/A run of this machine instead: its id or tag"},
    {"cold", NULL, AN_OPT_FLAG, FIELD(cold), 0, 0, NULL, "Time a load with the model out of the page cache as well"},
    {"no-bandwidth", NULL, AN_OPT_FLAG, FIELD(no_bandwidth), 0, 0, NULL, "Take no samples of memory bandwidth"},
    {"no-observe", NULL, AN_OPT_FLAG, FIELD(no_observe), 0, 0, NULL, "No last repetition that is watched for curves"},
    {"power-cmd", NULL, AN_OPT_STR, FIELD(power_cmd), 0, 0, "CMD", "A command that prints watts, or 'J joules' of a counter"},
    {"raw", NULL, AN_OPT_FLAG, FIELD(raw), 0, 0, NULL, "Do not apply the model's chat template"},
    {"stop-eos", NULL, AN_OPT_FLAG, FIELD(stop_eos), 0, 0, NULL, "Stop at an end-of-sequence id instead of a fixed length"},
    {"stock", NULL, AN_OPT_FLAG, FIELD(stock), 0, 0, NULL, "Add cells with the packages' own defaults"},
    {"ctx-size", "c", AN_OPT_I64, FIELD(n_ctx), 0, 10000000, "N", "Context size (0: what the work needs)"},
    {"batch-size", "b", AN_OPT_I64, FIELD(n_batch), 1, 65536, "N", "Tokens of one prefill call (512)"},
    {"ubatch-size", "ub", AN_OPT_I64, FIELD(n_ubatch), 1, 65536, "N", "Tokens of one internal step (512)"},
    {"kv", NULL, AN_OPT_STR, FIELD(kv), 0, 0, "TYPE", "Type of the KV cache: f16 (default), bf16, q8_0 or f32"},
    {"flash-attn", "fa", AN_OPT_STR, FIELD(flash_attn), 0, 0, "WHEN", "auto (default), on, off"},
    {"compute", NULL, AN_OPT_STR, FIELD(compute), 0, 0, "TYPE", "Type of activations: auto (default), f32, f16, bf16, q8, q8+bf16"},
    {"device", "dev", AN_OPT_STR, FIELD(device), 0, 0, "D", "auto (default), cpu, gpu"},
    {"n-gpu-layers", "ngl", AN_OPT_I64, FIELD(ngl), -1, 100000, "N", "Layers on the GPU (-1: all)"},
    AN_ROWS_LAYOUT(FIELD(layout)),
    {"draft", NULL, AN_OPT_STR, FIELD(draft), 0, 0, "D", "A cell more with speculative decoding: ngram, or a small model (native)"},
    {"draft-n", NULL, AN_OPT_I64, FIELD(draft_n), 1, 15, "N", "Tokens that it drafts at once at most (15)"},
    {"url", NULL, AN_OPT_STR, FIELD(url), 0, 0, "URL", "An OpenAI-compatible server to measure as the engine 'http'"},
    {"seed", "s", AN_OPT_I64, FIELD(seed), 0, 9007199254740992.0, "N", "Seed of the cells' order (from the clock)"},
    {"timeout", NULL, AN_OPT_I64, FIELD(timeout_s), 1, 86400, "S", "Seconds without an answer that count as a hang (600)"},
    {"format", NULL, AN_OPT_STR, FIELD(format), 0, 0, "F", "text (default), md, json, csv, html"},
    {"all", NULL, AN_OPT_FLAG, FIELD(all), 0, 0, NULL, "A row for every figure in tables"},
    {"plots", NULL, AN_OPT_FLAG, FIELD(plots), 0, 0, NULL, "Draw intervals and samples under the table"},
    {"output", "o", AN_OPT_STR, FIELD(out), 0, 0, "FILE", "Write the report there instead of to stdout"},
    {"json-out", NULL, AN_OPT_STR, FIELD(json_out), 0, 0, "FILE", "Write the full result as JSON there as well"},
    AN_ROWS_KEEP(FIELD(db), FIELD(no_store), FIELD(tags), FIELD(note)),
    AN_ROWS_GATE(FIELD(limits)),
    {"color", NULL, AN_OPT_STR, FIELD(color), 0, 0, "WHEN", "auto (default), always, never"},
    {"quiet", "q", AN_OPT_FLAG, FIELD(quiet), 0, 0, NULL, "No progress on stderr"},
    AN_OPTION_END,
};

static int run(int argc, char **argv);

const an_command an_cmd_compare = {
    .name = "compare",
    .args = "[MODEL…]",
    .summary = "Run the same prompt ids on several engines and compare time, CPU, memory and output",
    .details = "Without a model the two that ./quickstart made are taken. A model is a GGUF file, an MLX directory or a name\n"
               "in the models folder. Every engine gets the same ids and generates exactly N tokens; an end-of-sequence id\n"
               "counts as any other unless --stop-eos.\n\n"
               "Cells are measured in blocks, each in random order. After 6, 9, 14, 20 and 30 blocks anemo looks whether the\n"
               "ratios of decode speed and of time to first token are known well enough, and ends there. -r N measures\n"
               "N blocks instead and does not look; three are too few for a verdict.\n\n"
               "Ctrl-C ends the run after the repetition that is being measured; what there is is kept and shown.\n"
               "The exit status is 1 when a cell failed or an engine that was asked for by name is missing, 7 when --aa\n"
               "shows a difference where there is none or a limit of --fail-on is passed, 130 after Ctrl-C.",
    .options = options,
    .args_bytes = sizeof(compare_args),
    .run = run,
};

static anemo_status check_words(const compare_args *a, anemo_error *err)
{
    static const char *const format[] = {"text", "md", "json", "csv", "html", NULL},
                            *const color[] = {"auto", "always", "never", NULL};
    anemo_status status;
    AN_TRY(an_cli_one_of("--kv", a->kv, an_cli_kv_types, err));
    AN_TRY(an_cli_one_of("--flash-attn", a->flash_attn, an_cli_tristates, err));
    AN_TRY(an_cli_one_of("--compute", a->compute, an_cli_compute_types, err));
    AN_TRY(an_cli_one_of("--device", a->device, an_cli_devices, err));
    AN_TRY(an_cli_one_of("--format", a->format, format, err));
    AN_TRY(an_cli_one_of("--color", a->color, color, err));
    if (a->gate_from && (a->gate || a->aa))
        status = an_fail(err, ANEMO_ERR_INVAL, "--gate-from takes the gate from another run, %s measures it in this one: leave one out",
                         a->gate ? "--gate" : "--aa");
cleanup:
    return status;
}

/* The settings that every engine gets. The context holds prompt and answer; llama.cpp wants multiples of 256. */
static an_settings make_settings(const compare_args *a, const int *threads, size_t n_threads)
{
    an_settings s = an_settings_default();
    if (n_threads > 0) s.threads = s.threads_batch = threads[0];
    s.n_batch = (int)a->n_batch;
    s.n_ubatch = (int)a->n_ubatch;
    s.kv_type = a->kv;
    s.device = a->device;
    s.compute_dtype = a->compute;
    s.n_gpu_layers = (int)a->ngl;
    s.flash_attn = !strcmp(a->flash_attn, "on") ? AN_ON : !strcmp(a->flash_attn, "off") ? AN_OFF : AN_AUTO;
    s.n_ctx = (int)a->n_ctx;
    return s;
}

static anemo_status open_outputs(const compare_args *a, an_file_writer *out, an_file_writer *json, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    /* Opened before anything is measured, so that a bad path fails in the first second. */
    if (a->out) AN_TRY(an_file_writer_open(out, a->out, err));
    if (a->json_out) AN_TRY(an_file_writer_open(json, a->json_out, err));
cleanup:
    return status;
}

static anemo_status write_outputs(const an_run *run, const compare_args *a, an_file_writer *out,
                                  an_file_writer *json, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    an_report_format format;
    an_report_style style = {.width = an_terminal_width(1, 120), .color = !a->out && an_terminal_color(1, a->color),
                             .all = a->all, .plots = a->plots, .ascii = !a->out && !an_terminal_utf8()};
    AN_ASSERT(an_report_format_from_name(a->format, &format));
    AN_TRY(an_report_write(run, format, style, &text, err));
    if (a->out) {
        AN_TRY(an_file_writer_put(out, text.data, text.len, err));
        AN_TRY(an_file_writer_commit(out, err));
    } else if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0) {
        status = an_fail(err, ANEMO_ERR_IO, "cannot write the report to stdout");
        goto cleanup;
    }
    if (a->json_out) {
        an_str_clear(&text);
        AN_TRY(an_report_write(run, AN_REPORT_JSON, style, &text, err));
        AN_TRY(an_file_writer_put(json, text.data, text.len, err));
        AN_TRY(an_file_writer_commit(json, err));
    }
cleanup:
    an_str_free(&text);
    return status;
}

static const char *const default_models[] = {"smollm2-135m-instruct-q4_1", "smollm2-135m-instruct-q4_1-mlx"};

/* Those of the default models that are there; returns how many. */
static size_t find_defaults(const char **found)
{
    size_t n = 0;
    for (size_t i = 0; i < AN_COUNT_OF(default_models); i++) {
        char *path;
        if (an_model_resolve(default_models[i], &path, NULL) != ANEMO_OK) continue;
        found[n++] = default_models[i];
        an_free(path);
    }
    return n;
}

/* The models' paths, so that names of the hub's cache work as well. Gives *paths: an_names_free. */
static anemo_status find_models(const char *const *models, size_t n_model, char ***paths, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    *paths = an_calloc(n_model + 1, sizeof **paths);
    if (!*paths) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n_model; i++) AN_TRY(an_cli_model_path(models[i], &(*paths)[i], err));
cleanup:
    return status;
}

/* The plan's options from the command line; what it borrows lives as long as `a` and `lists`. */
static anemo_status read_options(const compare_args *a, compare_lists *lists, an_comparison_options *o, anemo_error *err)
{
    anemo_status status;
    int64_t n_warmup = AN_WARMUP_AUTO;
    AN_TRY(check_words(a, err));
    if (a->prompt_ids) AN_TRY(an_cli_read_ids("--prompt-ids", a->prompt_ids, &lists->ids, &lists->n_ids, err));
    AN_TRY(an_cli_read_ints("--threads", &a->threads, 1, 1024, &lists->threads, err));
    AN_TRY(an_cli_read_duration("--budget", a->budget, &o->budget_ns, err));
    if (strcmp(a->warmup, "auto") != 0 && (!an_parse_i64(a->warmup, &n_warmup) || n_warmup < 0 || n_warmup > 60)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "--warmup: '%.40s' is neither auto nor a whole number from 0 to 60", a->warmup);
        goto cleanup;
    }
    o->models = (const char *const *)lists->paths;
    o->engines = (const char *const *)a->engines.items;
    o->n_engine = a->engines.n;
    o->prompt = a->prompt;
    o->prompt_ids = lists->ids;
    o->n_prompt_ids = lists->n_ids;
    o->raw = a->raw;
    o->n_predict = (int)a->n_predict;
    o->n_rep = (int)a->n_rep;
    o->max_reps = (int)a->max_reps;
    o->n_warmup = (int)n_warmup;
    o->precision = a->precision / 100;
    o->stop_eos = a->stop_eos;
    o->stock = a->stock;
    o->cold = a->cold;
    o->aa = a->aa;
    o->gate = a->gate;
    o->observe = !a->no_observe;
    o->bandwidth = !a->no_bandwidth;
    o->power_cmd = a->power_cmd;
    o->settings = make_settings(a, lists->threads, a->threads.n);
    AN_TRY(an_cli_use_layout(&a->layout, &o->settings, err));
    o->threads = lists->threads;
    o->n_threads = a->threads.n;
    AN_TRY(an_cli_draft(a->draft, &lists->draft, err));
    o->draft = lists->draft;
    o->draft_n = (int)a->draft_n;
    o->url = a->url;
    o->seed = a->seed >= 0 ? (uint64_t)a->seed : an_clock_realtime_ns() >> 10;
    o->timeout_ns = (uint64_t)a->timeout_s * 1000000000u;
    o->stop = an_interrupts_watch();
    o->progress = an_cli_show_progress;
    o->begun = an_keeper_on_begun;
    o->changed = an_keeper_on_changed;
cleanup:
    return status;
}

/* Says how it went on stderr; the exit status. */
static int conclude(const an_run *run, bool kept, bool quiet)
{
    int exit_code = an_run_exit_code(run);
    if (kept && !quiet) fprintf(stderr, "anemo compare: kept as run %s; anemo report %s\n", run->id, run->id);
    if (run->interrupted)
        fprintf(stderr, "anemo compare: interrupted after %d complete blocks\n", run->n_block);
    else if (exit_code != 0)
        fprintf(stderr, "anemo compare: not every cell came out; the result says which and why\n");
    if (run->refused && run->aa) {
        fprintf(stderr, "anemo compare: the A/A gate failed: %s\n", run->refused);
        if (exit_code == 0) exit_code = AN_EXIT_GATE;
    } else if (run->refused)
        fprintf(stderr, "anemo compare: no verdicts: %s\n", run->refused);
    return exit_code;
}

/* --fail-on and --junit. What was found goes behind the report where that is text on stdout, else to stderr. */
static anemo_status apply_limits(const an_cli_gate *gate, const compare_args *a, const an_run *run, int *exit_code, anemo_error *err)
{
    anemo_status status;
    an_str text = {0};
    bool failed, data = a->out || !strcmp(a->format, "json") || !strcmp(a->format, "csv");
    AN_TRY(an_cli_gate_close(gate, &a->limits, run, &text, &failed, err));
    fprintf(data ? stderr : stdout, "%s%s", text.len ? "\n" : "", an_str_text(&text));
    if (failed) *exit_code = AN_EXIT_GATE;
cleanup:
    an_str_free(&text);
    return status;
}

static anemo_status compare(const compare_args *a, const char *const *models, size_t n_model, int *exit_code,
                            anemo_error *err)
{
    anemo_status status;
    compare_lists lists = {0};
    an_keeper keeper = {0};
    an_cli_gate gate = {0};
    an_gate_from from = {0};
    an_comparison c = {0};
    an_comparison_options o = {0};
    an_file_writer out = {.fd = -1}, json = {.fd = -1};
    an_progress *progress = an_progress_begin(2, a->quiet);
    const char *found[AN_COUNT_OF(default_models)];
    if (n_model == 0) {
        n_model = find_defaults(found);
        models = found;
        if (n_model == 0) {
            status = an_fail(err, ANEMO_ERR_NOTFOUND,
                             "no model was named, and %s is not in the models folder; ./quickstart brings it there",
                             default_models[0]);
            goto cleanup;
        }
    }
    AN_TRY(an_cli_gate_open(&gate, &a->limits, a->db, err));
    AN_TRY(an_gate_from_open(&from, a->gate_from, a->db, err));
    AN_TRY(find_models(models, n_model, &lists.paths, err));
    AN_TRY(read_options(a, &lists, &o, err));
    o.n_model = n_model;
    o.progress_ctx = progress;
    o.changed_ctx = &keeper;
    AN_TRY(an_comparison_plan(&c, &o, err));
    AN_TRY(an_gate_from_apply(&from, &c.run, err));
    AN_TRY(an_keeper_describe(&c.run, a->command, a->note, &a->tags, err));
    AN_TRY(open_outputs(a, &out, &json, err));
    if (!a->no_store) an_keeper_open(&keeper, "compare", a->db);
    AN_TRY(an_comparison_run(&c, err));
    an_progress_end(progress);
    progress = NULL;
    AN_TRY(an_gate_from_check(&from, &c.run, err));
    bool kept = an_keeper_finish(&keeper, &c.run);
    AN_TRY(write_outputs(&c.run, a, &out, &json, err));
    *exit_code = conclude(&c.run, kept, a->quiet);
    AN_TRY(apply_limits(&gate, a, &c.run, exit_code, err));
cleanup:
    an_progress_end(progress);
    an_file_writer_close(&out);
    an_file_writer_close(&json);
    an_comparison_free(&c);
    an_keeper_close(&keeper);
    an_cli_gate_free(&gate);
    an_gate_from_free(&from);
    an_names_free(lists.paths);
    an_free(lists.ids);
    an_free(lists.threads);
    an_free(lists.draft);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    int exit_code = 0;
    compare_args a = {
        .prompt = "Who invented the light bulb?",
        .format = "text",
        .kv = "f16",
        .device = "auto",
        .compute = "auto",
        .flash_attn = "auto",
        .color = "auto",
        .warmup = "auto",
        .budget = "10m",
        .n_predict = 50,
        .max_reps = AN_BLOCKS_DEFAULT,
        .precision = 1,
        .n_batch = 512,
        .n_ubatch = 512,
        .ngl = -1,
        .seed = -1,
        .timeout_s = 600,
        .limits = AN_GATE_ARGS_DEFAULT,
    };
    if (an_options_parse(&an_cmd_compare, argc, argv, &a, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("compare", &err);
    char *command = an_cli_quote_command(argc, argv);
    a.command = command;
    if (!help && compare(&a, (const char *const *)pos.items, pos.n, &exit_code, &err) != ANEMO_OK)
        exit_code = an_cli_fail("compare", &err);
    an_free(command);
    an_options_free(&an_cmd_compare, &a, &pos);
    return exit_code;
}

/* The table of flags, their defaults, and the check of what each may be. */
#include "cli/bench_flags.h"

#include "base/alloc.h"
#include "base/str.h"
#include "cli/arguments.h"
#include "drivers/driver.h"
#include "os/file.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FIELD(name) offsetof(an_bench_args, name)
#define OTHER(i)    (offsetof(an_bench_args, others) + (i) * sizeof(an_opt_list))

const an_option an_bench_options[] = {
    {"model", "m", AN_OPT_LIST, FIELD(models), 0, 0, "MODEL,…", "Models: GGUF files, MLX directories, or names"},
    {"engine", "e", AN_OPT_LIST, FIELD(engines), 0, 0, "E,…", "Engines (default: all that are here and read a model)"},
    {"n-prompt", "p", AN_OPT_EACH, FIELD(n_prompt), 0, 0, "N,…", "Prompt tokens of the pp tests, 0 = none (512)"},
    {"n-gen", "n", AN_OPT_EACH, FIELD(n_gen), 0, 0, "N,…", "Single steps of the tg tests, 0 = none (128)"},
    {NULL, "pg", AN_OPT_EACH, FIELD(pg), 0, 0, "PP,TG", "A test of both, one after the other"},
    {"n-depth", "d", AN_OPT_EACH, FIELD(n_depth), 0, 0, "N,…", "Tokens in the KV cache before the test (0)"},
    {"batch-size", "b", AN_OPT_EACH, FIELD(n_batch), 0, 0, "N,…", "Tokens of one pass of a prompt (2048)"},
    {"ubatch-size", "ub", AN_OPT_EACH, FIELD(n_ubatch), 0, 0, "N,…", "Tokens of one internal step (512)"},
    {"cache-type-k", "ctk", AN_OPT_LIST, FIELD(ctk), 0, 0, "T,…", "Type of keys in the KV cache (f16)"},
    {"cache-type-v", "ctv", AN_OPT_LIST, FIELD(ctv), 0, 0, "T,…", "Type of values in the KV cache (f16)"},
    {"threads", "t", AN_OPT_EACH, FIELD(threads), 0, 0, "N,…", "Threads (all usable CPUs)"},
    {"cpu-mask", "C", AN_OPT_LIST, FIELD(masks), 0, 0, "HEX,…", "CPUs of the worker, 0x0 = all (0x0)"},
    {"n-gpu-layers", "ngl", AN_OPT_EACH, FIELD(ngl), 0, 0, "N,…", "Layers on the GPU, -1 = all (-1)"},
    {"flash-attn", "fa", AN_OPT_LIST, FIELD(flash_attn), 0, 0, "WHEN,…", "on, off, auto (auto)"},
    {"device", "dev", AN_OPT_LIST, FIELD(devices), 0, 0, "D,…", "auto, none or cpu, gpu (auto)"},
    AN_ROWS_LAYOUT(FIELD(layout)),
    {"repetitions", "r", AN_OPT_I64, FIELD(n_rep), 1, 1000, "N", "Times that each test is repeated (5)"},
    {"trials", NULL, AN_OPT_I64, FIELD(n_rep), 1, 1000, "N", "The same, as mlx_lm.benchmark calls it"},
    {"interleave", NULL, AN_OPT_FLAG, FIELD(interleave), 0, 0, NULL, "Blocks with each test once, in random order, not test after test"},
    {"prio", NULL, AN_OPT_I64, FIELD(prio), -1, 3, "N", "Priority of the worker, -1 to 3 (0); above 0 needs the right to it"},
    {"delay", NULL, AN_OPT_F64, FIELD(delay_s), 0, 86400, "S", "Seconds of rest before each test (0)"},
    {"no-warmup", NULL, AN_OPT_FLAG, FIELD(no_warmup), 0, 0, NULL, "No warm-up before the repetitions"},
    {"output", "o", AN_OPT_STR, FIELD(format), 0, 0, "F", "Form of the result on stdout: md, csv, json, jsonl, sql (md)"},
    {"output-err", "oe", AN_OPT_STR, FIELD(format_err), 0, 0, "F", "The same on stderr (none)"},
    {"progress", NULL, AN_OPT_FLAG, FIELD(progress), 0, 0, NULL, "A line on stderr for each thing that is done"},
    {"verbose", "v", AN_OPT_FLAG, FIELD(verbose), 0, 0, NULL, "Print what failing workers wrote to their stderr"},
    {"list-devices", NULL, AN_OPT_FLAG, FIELD(list_devices), 0, 0, NULL, "Print what each engine can run on, and stop"},
    {"offline", NULL, AN_OPT_FLAG, FIELD(offline), 0, 0, NULL, "Accepted: bench never uses the network"},
    {"hf-repo", NULL, AN_OPT_EACH, FIELD(hf_repo), 0, 0, "REPO", "A model of the hub that anemo pull brought; also -hf, -hfr"},
    {NULL, "hf", AN_OPT_EACH, FIELD(hf), 0, 0, "REPO", "The same"},
    {NULL, "hfr", AN_OPT_EACH, FIELD(hfr), 0, 0, "REPO", "The same"},
    {"seed", NULL, AN_OPT_I64, FIELD(seed), 0, 9007199254740992.0, "N", "Seed of the random ids, and of the order of --interleave (1)"},
    {"timeout", NULL, AN_OPT_I64, FIELD(timeout_s), 1, 86400, "S", "Seconds without a sign of life that count as a hang (600)"},
    {"bandwidth", NULL, AN_OPT_FLAG, FIELD(bandwidth), 0, 0, NULL, "A sample of memory bandwidth around each repetition"},
    {"no-probe", NULL, AN_OPT_FLAG, FIELD(no_probe), 0, 0, NULL, "Do not measure the machine's peaks first (0.7 s)"},
    {"power-cmd", NULL, AN_OPT_STR, FIELD(power_cmd), 0, 0, "CMD", "Program that prints watts, or 'J joules' of a counter"},
    AN_ROWS_KEEP(FIELD(db), FIELD(no_store), FIELD(tags), FIELD(note)),
    AN_ROW_QUIET(FIELD(quiet)),
    {"numa", NULL, AN_OPT_EACH, OTHER(0), 0, 0, "MODE", "Only disabled: bind the worker with -C, or run anemo under numactl"},
    {"poll", NULL, AN_OPT_EACH, OTHER(1), 0, 0, "N", "Only 50"},
    {"cpu-strict", NULL, AN_OPT_EACH, OTHER(2), 0, 0, "0|1", "Only 0"},
    {"split-mode", "sm", AN_OPT_EACH, OTHER(3), 0, 0, "MODE", "Only layer"},
    {"main-gpu", "mg", AN_OPT_EACH, OTHER(4), 0, 0, "I", "Only 0"},
    {"no-kv-offload", "nkvo", AN_OPT_EACH, OTHER(5), 0, 0, "0|1", "Only 0"},
    {"load-mode", "lm", AN_OPT_EACH, OTHER(6), 0, 0, "MODE", "Only auto"},
    {"lazy-mode", "lzm", AN_OPT_EACH, OTHER(7), 0, 0, "MODE", "Only auto"},
    {"embeddings", "embd", AN_OPT_EACH, OTHER(8), 0, 0, "0|1", "Only 0"},
    {"tensor-split", "ts", AN_OPT_EACH, OTHER(9), 0, 0, "N", "Only 0"},
    {"override-tensor", "ot", AN_OPT_EACH, OTHER(10), 0, 0, "RULES", "Only none"},
    {"no-op-offload", "nopo", AN_OPT_EACH, OTHER(11), 0, 0, "0|1", "Only 0"},
    {"no-host", NULL, AN_OPT_EACH, OTHER(12), 0, 0, "0|1", "Only 0"},
    {"repack", NULL, AN_OPT_EACH, OTHER(13), 0, 0, "0|1", "Only 1"},
    {"n-cpu-moe", "ncmoe", AN_OPT_EACH, OTHER(14), 0, 0, "N", "Only 0"},
    {"fit-target", "fitt", AN_OPT_EACH, OTHER(15), 0, 0, "MIB", "Only 0"},
    {"fit-ctx", "fitc", AN_OPT_EACH, OTHER(16), 0, 0, "N", "Only 0"},
    {"rpc", "rpc", AN_OPT_EACH, OTHER(17), 0, 0, "SERVERS", "Refused: anemo measures this machine"},
    {"hf-file", "hff", AN_OPT_EACH, OTHER(18), 0, 0, "FILE", "Refused: name the file with -m"},
    {"hf-token", "hft", AN_OPT_EACH, OTHER(19), 0, 0, "TOKEN", "Refused: bench never uses the network"},
    AN_OPTION_END,
};

/* What each of the others may be, in the order of OTHER(). */
static const struct {
    const char *flag, *only; /* NULL = nothing */
} others[AN_BENCH_OTHERS] = {
    {"--numa", "disabled"}, {"--poll", "50"},   {"--cpu-strict", "0"}, {"-sm", "layer"}, {"-mg", "0"},
    {"-nkvo", "0"},         {"-lm", "auto"},    {"-lzm", "auto"},      {"-embd", "0"},   {"-ts", "0"},
    {"-ot", "none"},        {"-nopo", "0"},     {"--no-host", "0"},    {"--repack", "1"}, {"-ncmoe", "0"},
    {"-fitt", "0"},         {"-fitc", "0"},     {"-rpc", NULL},        {"-hff", NULL},    {"-hft", NULL},
};

an_bench_args an_bench_defaults(void)
{
    return (an_bench_args){.format = "md", .format_err = "none", .n_rep = 5, .seed = 1, .timeout_s = 600};
}

char **an_bench_dashes(int argc, char **argv)
{
    char **words = an_calloc((size_t)argc + 1, sizeof *words);
    for (int i = 0; words && i < argc; i++) {
        words[i] = an_strdup(argv[i]);
        if (!words[i]) {
            an_names_free(words);
            return NULL;
        }
        if (!an_str_starts_with(words[i], "--")) continue;
        for (char *p = words[i]; *p && *p != '='; p++)
            if (*p == '_') *p = '-';
    }
    return words;
}

static anemo_status read_ints(const char *flag, const an_opt_list *given, int usual, int min, int max, an_ints *out,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < given->n; i++) AN_TRY(an_grammar_ints(flag, given->items[i], min, max, out, err));
    if (given->n == 0) status = an_ints_push(out, usual, err);
cleanup:
    return status;
}

static anemo_status read_pairs(const an_opt_list *given, an_bench_grid *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    g->pg = an_calloc(given->n + 1, sizeof *g->pg);
    if (!g->pg) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < given->n; i++) {
        AN_TRY(an_grammar_pair("-pg", given->items[i], 1 << 20, g->pg[i], err));
        g->n_pg = i + 1;
    }
cleanup:
    return status;
}

/* llama-bench's words for yes, no and do as you like. */
static anemo_status read_flash_attn(const an_opt_list *given, an_ints *out, anemo_error *err)
{
    static const char *const words[][5] = {{"auto", "-1", NULL}, {"on", "enabled", "true", "1", NULL},
                                           {"off", "disabled", "false", "0", NULL}}; /* by an_tristate */
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < given->n; i++) {
        int value = -1;
        for (int t = AN_AUTO; t <= AN_OFF; t++)
            for (size_t w = 0; words[t][w]; w++)
                if (!strcmp(given->items[i], words[t][w])) value = t;
        if (value < 0)
            return an_fail(err, ANEMO_ERR_INVAL, "-fa: '%.40s' is none of on, off, auto, 1, 0", given->items[i]);
        AN_TRY(an_ints_push(out, value, err));
    }
    if (given->n == 0) AN_TRY(an_ints_push(out, AN_AUTO, err));
cleanup:
    return status;
}

/* Words as given, or the usual one. */
static void read_words(const an_opt_list *given, const char *const *usual, const char *const **out, size_t *n)
{
    *out = given->n ? (const char *const *)given->items : usual;
    *n = given->n ? given->n : 1;
}

static anemo_status check_words(const an_bench_args *a, anemo_error *err)
{
    static const char *const types[] = {"f16", "f32", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", NULL};
    anemo_status status = ANEMO_OK;
    uint8_t mask[AN_CPU_MASK_BYTES];
    int n_cpu;
    for (size_t i = 0; i < a->ctk.n; i++) AN_TRY(an_cli_one_of("-ctk", a->ctk.items[i], types, err));
    for (size_t i = 0; i < a->ctv.n; i++) AN_TRY(an_cli_one_of("-ctv", a->ctv.items[i], types, err));
    for (size_t i = 0; i < a->masks.n; i++) AN_TRY(an_grammar_cpu_mask("-C", a->masks.items[i], mask, &n_cpu, err));
    for (size_t i = 0; i < AN_BENCH_OTHERS; i++) {
        for (size_t k = 0; k < a->others[i].n; k++) {
            const char *value = a->others[i].items[k];
            if (others[i].only && !strcmp(value, others[i].only)) continue;
            return others[i].only
                       ? an_fail(err, ANEMO_ERR_UNSUPPORTED,
                                 "%s %.40s: anemo bench has only %s of this flag of llama-bench (docs/bench.md says why)",
                                 others[i].flag, value, others[i].only)
                       : an_fail(err, ANEMO_ERR_UNSUPPORTED,
                                 "%s: anemo bench does not have this flag of llama-bench (docs/bench.md says why)",
                                 others[i].flag);
        }
    }
cleanup:
    return status;
}

/* "none" is llama-bench's word for the CPU alone. Gives words that live as long as the program. */
static anemo_status read_devices(const an_opt_list *given, an_bench_grid *g, anemo_error *err)
{
    static const char *const allowed[] = {"auto", "none", "cpu", "gpu", NULL};
    static const char *const one_auto[] = {"auto"};
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < given->n; i++) {
        AN_TRY(an_cli_one_of("-dev", given->items[i], allowed, err));
        if (!strcmp(given->items[i], "none")) memcpy(given->items[i], "cpu", sizeof "cpu");
    }
    read_words(given, one_auto, &g->devices, &g->n_device);
cleanup:
    return status;
}

anemo_status an_bench_read_flags(const an_bench_args *a, an_bench_values *v, anemo_error *err)
{
    static const char *const one_f16[] = {"f16"}, *const one_mask[] = {"0x0"};
    anemo_status status = ANEMO_OK;
    an_bench_grid *g = &v->grid;
    *v = (an_bench_values){0};
    AN_TRY(check_words(a, err));
    if (!an_llama_bench_format_from_name(a->format, &v->format) ||
        !an_llama_bench_format_from_name(a->format_err, &v->format_err)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "-o and -oe take csv, json, jsonl, md or sql, not '%.40s'",
                         an_llama_bench_format_from_name(a->format, &v->format) ? a->format_err : a->format);
        goto cleanup;
    }
    AN_TRY(read_ints("-p", &a->n_prompt, 512, 0, 1 << 20, &g->n_prompt, err));
    AN_TRY(read_ints("-n", &a->n_gen, 128, 0, 1 << 20, &g->n_gen, err));
    AN_TRY(read_ints("-d", &a->n_depth, 0, 0, 1 << 24, &g->n_depth, err));
    AN_TRY(read_ints("-b", &a->n_batch, 2048, 1, 1 << 20, &g->n_batch, err));
    AN_TRY(read_ints("-ub", &a->n_ubatch, 512, 1, 1 << 20, &g->n_ubatch, err));
    AN_TRY(read_ints("-t", &a->threads, an_settings_default().threads, 1, 1024, &g->threads, err));
    AN_TRY(read_ints("-ngl", &a->ngl, -1, -1, 1 << 20, &g->n_gpu_layers, err));
    AN_TRY(read_pairs(&a->pg, g, err));
    AN_TRY(read_flash_attn(&a->flash_attn, &g->flash_attn, err));
    AN_TRY(read_devices(&a->devices, g, err));
    an_settings s;
    AN_TRY(an_cli_use_layout(&a->layout, &s, err));
    g->layout = s.layout;
    g->layout_dir = s.layout_dir;
    g->pin = s.pin;
    read_words(&a->ctk, one_f16, &g->kv_k, &g->n_kv_k);
    read_words(&a->ctv, one_f16, &g->kv_v, &g->n_kv_v);
    read_words(&a->masks, one_mask, &g->masks, &g->n_mask);
cleanup:
    return status;
}

void an_bench_values_free(an_bench_values *v)
{
    an_bench_grid *g = &v->grid;
    an_ints *const lists[] = {&g->n_prompt, &g->n_gen,        &g->n_depth,    &g->n_batch, &g->n_ubatch,
                              &g->threads,  &g->n_gpu_layers, &g->flash_attn};
    for (size_t i = 0; i < AN_COUNT_OF(lists); i++) an_ints_free(lists[i]);
    an_free(g->pg);
    g->pg = NULL;
}

anemo_status an_bench_list_devices(anemo_error *err)
{
    printf("Available devices:\n");
    for (size_t i = 0; i < an_engine_n(); i++) {
        const an_engine_info *e = an_engine_at(i);
        char **argv = NULL;
        an_client *client = NULL;
        if ((!e->reads_gguf && !e->reads_mlx) || an_engine_command(e, NULL, &argv, NULL) != ANEMO_OK) continue;
        if (an_client_open(&client, (const char *const *)argv, NULL, NULL) == ANEMO_OK) {
            const json_t *list = json_object_get(an_client_hello(client)->raw, "devices");
            size_t k;
            json_t *d;
            json_array_foreach(list, k, d)
            {
                const char *name = json_string_value(json_object_get(d, "name"));
                const char *text = json_string_value(json_object_get(d, "description"));
                printf("  %s: %s%s%s%s\n", e->name, name ? name : "cpu", text && *text ? " (" : "", text ? text : "",
                       text && *text ? ")" : "");
            }
        }
        an_client_close(client);
        an_argv_free(argv);
    }
    return fflush(stdout) == 0 ? ANEMO_OK : an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
}

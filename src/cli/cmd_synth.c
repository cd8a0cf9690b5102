/* anemo synth: a model of a known shape with random weights. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/print_classes.h"

#include "base/str.h"
#include "convert/synth.h"
#include "os/cpu.h"
#include "os/process.h"
#include "os/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct synth_args {
    const char *quant, *out, *format;
    int64_t threads, layers, seed;
    bool pure, list, dry_run, force, quiet;
} synth_args;

#define FIELD(name) offsetof(synth_args, name)

static const an_option options[] = {
    {.name = "quant", .kind = AN_OPT_STR, .offset = FIELD(quant), .arg = "TYPE", .help = "The weights' type (see below)"},
    {.name = "output", .short_name = "o", .kind = AN_OPT_STR, .offset = FIELD(out), .arg = "OUT",
     .help = "The file (gguf) or directory (mlx) to write"},
    {.name = "format", .kind = AN_OPT_STR, .offset = FIELD(format), .arg = "FORMAT", .help = "gguf (default) or mlx"},
    {.name = "pure", .kind = AN_OPT_FLAG, .offset = FIELD(pure),
     .help = "GGUF: TYPE for every matrix, the output matrix too, as the MLX twin has it"},
    {.name = "layers", .kind = AN_OPT_I64, .offset = FIELD(layers), .min = 1, .max = 100000, .arg = "N",
     .help = "Only the first N layers"},
    {.name = "seed", .kind = AN_OPT_I64, .offset = FIELD(seed), .min = 0, .max = 9007199254740992.0, .arg = "N",
     .help = "Other weights (default: 0)"},
    {.name = "list", .kind = AN_OPT_FLAG, .offset = FIELD(list), .help = "Print the shapes with their sizes"},
    {.name = "dry-run", .kind = AN_OPT_FLAG, .offset = FIELD(dry_run), .help = "Only say what would be written"},
    {.name = "force", .kind = AN_OPT_FLAG, .offset = FIELD(force), .help = "Replace OUT when it is there"},
    AN_ROW_THREADS(FIELD(threads)),
    AN_ROW_QUIET(FIELD(quiet)),
    AN_OPTION_END,
};

static anemo_status print_shapes(anemo_error *err)
{
    static const char *const types[] = {"Q4_0", "Q4_K_M", "Q8_0", "BF16"};
    printf("%-18s %10s", "shape", "parameters");
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) printf(" %9s", types[i]);
    printf("   (GB)\n");
    for (size_t s = 0; an_synth_shape_name(s); s++) {
        for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
            an_synth_result r;
            an_synth_options o = {.shape = an_synth_shape_name(s), .quant = types[i], .dry_run = true, .n_thread = 1};
            anemo_status status = an_synth("", &o, &r, err);
            if (status != ANEMO_OK) return status;
            if (i == 0) printf("%-18s %9.2fB", an_synth_shape_name(s), (double)r.n_weight / 1e9);
            printf(" %9.2f", (double)r.weight_bytes / 1e9);
            if (i == AN_COUNT_OF(types) - 1) printf(r.n_expert ? "   experts: for llama.cpp, GGUF only\n" : "\n");
            an_synth_result_free(&r);
        }
    }
    return ANEMO_OK;
}

static void print_result(const an_synth_options *o, const an_synth_result *r, bool dry_run, const char *out)
{
    const int ctx = r->n_ctx < 4096 ? r->n_ctx : 4096;
    an_cli_print_classes(&r->classes, dry_run);
    printf("\n%s%s%zu tensors, %.2f billion weights, %.1f MB; with %d positions of f16 keys and values %.1f MB in memory\n",
           out ? out : "", out ? ": " : "", r->n_tensor, (double)r->n_weight / 1e9, (double)r->weight_bytes / 1e6, ctx,
           ((double)r->weight_bytes + (double)ctx * (double)r->kv_token_bytes) / 1e6);
    if (r->n_expert) printf("A mixture of experts: the llama.cpp engine runs it, native does not yet\n");
    else if (o->format == AN_SYNTH_GGUF)
        printf(r->has_twin ? "The same command with --format mlx and another OUT makes the MLX directory with these weights\n"
                           : "No MLX directory holds these weights exactly%s\n",
               o->pure ? "" : "; --pure may make a file that has a twin");
    else if (r->has_twin) printf("The same command with --format gguf --pure and another OUT makes the GGUF file with these weights\n");
}

static anemo_status synth(const synth_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    static const char *const formats[] = {"gguf", "mlx", NULL};
    const char *format = args->format ? args->format : "gguf";
    an_synth_result result = {0};
    if (args->list) return print_shapes(err);
    if (pos->n != 1)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "needs one shape: anemo synth mistral-7b-v0.3 --quant Q4_K_M -o OUT.gguf; --list prints the shapes");
    if (!args->quant) return an_fail(err, ANEMO_ERR_INVAL, "--quant is missing, the weights' type: --quant Q4_K_M");
    if (!args->out && !args->dry_run) return an_fail(err, ANEMO_ERR_INVAL, "-o is missing, the file or directory to write");
    AN_TRY(an_cli_one_of("--format", format, formats, err));
    an_synth_options o = {.shape = pos->items[0],
                          .quant = args->quant,
                          .format = !strcmp(format, "mlx") ? AN_SYNTH_MLX : AN_SYNTH_GGUF,
                          .pure = args->pure,
                          .n_layer = (int)args->layers,
                          .seed = (uint64_t)args->seed,
                          .force = args->force,
                          .dry_run = args->dry_run,
                          .n_thread = args->threads ? (int)args->threads : an_cpu_usable(),
                          .progress = an_cli_show_weights,
                          .stop = an_interrupts_watch()};
    o.progress_ctx = an_progress_begin(2, args->quiet);
    status = an_synth(args->out, &o, &result, err);
    an_progress_end(o.progress_ctx);
    if (status == ANEMO_OK && !args->quiet) print_result(&o, &result, true, args->dry_run ? NULL : args->out);
    if (status == ANEMO_OK && fflush(stdout) != 0) status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
cleanup:
    an_synth_result_free(&result);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    synth_args args = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(&an_cmd_synth, argc, argv, &args, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("synth", &err);
    anemo_status status = help ? ANEMO_OK : synth(&args, &pos, &err);
    an_options_free(&an_cmd_synth, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("synth", &err);
}

const an_command an_cmd_synth = {
    .name = "synth",
    .args = "SHAPE",
    .summary = "Make a model of a known shape with random weights",
    .details = "SHAPE is a name of --list, or a config.json or the directory that holds one. The model tokenizes and runs as the\n"
               "real one would, so that its speed and memory can be measured before it is downloaded; its answers mean nothing.\n"
               "The same shape, type and seed give the same bytes everywhere.\n"
               "TYPE for GGUF is one of llama.cpp's: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S\n"
               "Q5_K_M Q6_K IQ4_NL IQ4_XS F16 BF16 F32. For MLX it is one whose every weight MLX holds exactly, so that the GGUF\n"
               "file made with --pure is its twin: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K F16 BF16 F32; or one of MLX's own, 2bit\n"
               "3bit 4bit 5bit 6bit 8bit, with -g32, -g64 or -g128.",
    .options = options,
    .args_bytes = sizeof(synth_args),
    .run = run,
};

/* anemo convert: a model in another container, with the very same weights where the container can hold them. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/print_classes.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "convert/convert.h"
#include "convert/to_gguf.h"
#include "os/cpu.h"
#include "os/process.h"
#include "os/terminal.h"

#include <stdio.h>
#include <string.h>

typedef struct convert_args {
    const char *to, *dtype, *quantize;
    int64_t threads;
    bool force, dry_run, allow_requantize, quiet;
} convert_args;

static const an_option options[] = {
    {.name = "to",
     .kind = AN_OPT_STR,
     .offset = offsetof(convert_args, to),
     .arg = "FORMAT",
     .help = "The format to make: mlx, gguf"},
    {.name = "dtype",
     .kind = AN_OPT_STR,
     .offset = offsetof(convert_args, dtype),
     .arg = "TYPE",
     .help = "Of weights that are not quantized: f16, bf16, f32 (default: as stored)"},
    {.name = "quantize",
     .kind = AN_OPT_STR,
     .offset = offsetof(convert_args, quantize),
     .arg = "TYPE",
     .help = "Quantize the weights: Q4_K_M, Q8_0, …"},
    {.name = "allow-requantize",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(convert_args, allow_requantize),
     .help = "Take a source that is quantized already"},
    {.name = "dry-run",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(convert_args, dry_run),
     .help = "Only say what would be written"},
    AN_ROW_THREADS(offsetof(convert_args, threads)),
    {.name = "force",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(convert_args, force),
     .help = "Replace DST when it is a model directory"},
    AN_ROW_QUIET(offsetof(convert_args, quiet)),
    AN_OPTION_END,
};

static anemo_status take_dtype(const char *name, an_float_choice *out, anemo_error *err)
{
    static const char *const names[] = {"f32", "f16", "bf16", NULL};
    static const an_float_choice choices[] = {AN_FLOAT_F32, AN_FLOAT_F16, AN_FLOAT_BF16};
    *out = AN_FLOAT_AS_STORED;
    if (!name) return ANEMO_OK;
    anemo_status status = an_cli_one_of("--dtype", name, names, err);
    for (int i = 0; names[i]; i++)
        if (!strcmp(name, names[i])) *out = choices[i];
    return status;
}

static void print_result(const char *dst, const an_convert_result *r, bool dry_run)
{
    an_cli_print_classes(&r->classes, dry_run);
    for (size_t i = 0; i < r->n_note; i++) printf("note: %s\n", r->notes[i]);
    if (!dry_run)
        printf("%s: %zu tensors, %zu of them quantized, %.1f MB of weights, %s\n", dst, r->n_tensor, r->n_quantized,
               (double)r->weight_bytes / 1e6, r->n_rounded ? "not exact" : "exact");
}

static anemo_status to_gguf(const convert_args *args, const char *src, const char *dst, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_convert_result result = {0};
    an_convert_options opt = {.force = args->force,
                              .dry_run = args->dry_run,
                              .allow_requantize = args->allow_requantize,
                              .quantize = args->quantize,
                              .n_thread = args->threads ? (int)args->threads : an_cpu_usable(),
                              .progress = an_cli_show_weights,
                              .stop = an_interrupts_watch()};
    AN_TRY(take_dtype(args->dtype, &opt.dtype, err));
    opt.progress_ctx = an_progress_begin(2, args->quiet);
    status = an_convert_to_gguf(src, dst, &opt, &result, err);
    an_progress_end(opt.progress_ctx);
    if (status == ANEMO_OK && !args->quiet) print_result(dst, &result, args->dry_run);
    an_convert_result_free(&result);
cleanup:
    return status;
}

static anemo_status convert(const convert_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *src = NULL;
    an_convert_result result;
    an_convert_options opt = {.force = args->force, .progress = an_cli_show_weights};
    if (pos->n != 2)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "needs a source and a destination: anemo convert SRC.gguf DST --to mlx");
    if (!args->to) return an_fail(err, ANEMO_ERR_INVAL, "--to is missing; it can be mlx or gguf");
    if (strcmp(args->to, "mlx") && strcmp(args->to, "gguf"))
        return an_fail(err, ANEMO_ERR_INVAL, "--to %s: only mlx and gguf can be made", args->to);
    AN_TRY(an_cli_model_path(pos->items[0], &src, err));
    if (!strcmp(args->to, "gguf")) {
        status = to_gguf(args, src, pos->items[1], err);
        goto cleanup;
    }
    opt.progress_ctx = an_progress_begin(2, args->quiet);
    status = an_convert_to_mlx(src, pos->items[1], &opt, &result, err);
    an_progress_end(opt.progress_ctx);
    if (status == ANEMO_OK && !args->quiet)
        printf("%s: %zu tensors, %zu of them quantized, %.1f MB of weights\n", pos->items[1],
               result.n_tensor, result.n_quantized, (double)result.weight_bytes / 1e6);
cleanup:
    an_free(src);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    convert_args args = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(&an_cmd_convert, argc, argv, &args, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("convert", &err);
    anemo_status status = help ? ANEMO_OK : convert(&args, &pos, &err);
    an_options_free(&an_cmd_convert, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("convert", &err);
}

const an_command an_cmd_convert = {
    .name = "convert",
    .args = "SRC DST",
    .summary = "Make an MLX directory or a GGUF file of a model, exact where the format allows",
    .details = "To MLX: Q4_0, Q4_1 and Q8_0 become affine groups of 32, F16, BF16 and F32 stay as they "
               "are; other types are\n"
               "refused by name. To GGUF: from any model; what has no exact form needs --dtype or --quantize. DST appears\n"
               "whole or not at all.",
    .options = options,
    .args_bytes = sizeof(convert_args),
    .run = run,
};

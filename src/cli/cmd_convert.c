/* anemo convert: a GGUF model as an MLX directory, with the very same weights. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "convert/convert.h"
#include "os/terminal.h"

#include <stdio.h>
#include <string.h>

typedef struct convert_args {
    const char *to;
    bool force, quiet;
} convert_args;

static const an_option options[] = {
    {.name = "to",
     .kind = AN_OPT_STR,
     .offset = offsetof(convert_args, to),
     .arg = "FORMAT",
     .help = "The format to make: mlx"},
    {.name = "force",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(convert_args, force),
     .help = "Replace DST when it is a model directory"},
    AN_ROW_QUIET(offsetof(convert_args, quiet)),
    AN_OPTION_END,
};

static anemo_status convert(const convert_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *src = NULL;
    an_convert_result result;
    an_convert_options opt = {.force = args->force, .progress = an_cli_show_weights};
    if (pos->n != 2)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "needs a source and a destination: anemo convert SRC.gguf DST --to mlx");
    if (!args->to) return an_fail(err, ANEMO_ERR_INVAL, "--to is missing; it can be mlx");
    if (strcmp(args->to, "mlx"))
        return an_fail(err, ANEMO_ERR_INVAL, "--to %s: only mlx can be made", args->to);
    AN_TRY(an_cli_model_path(pos->items[0], &src, err));
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
    .args = "SRC.gguf DST",
    .summary = "Make an MLX directory from a GGUF file without changing a weight",
    .details = "Q4_0, Q4_1 and Q8_0 become affine groups of 32, F16, BF16 and F32 stay as they "
               "are; other types are\n"
               "refused by name. DST appears whole or not at all.",
    .options = options,
    .args_bytes = sizeof(convert_args),
    .run = run,
};

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
    an_opt_list tensor_type;
    int64_t threads;
    bool force, dry_run, allow_requantize, json, quiet;
} convert_args;

#define FIELD(name) offsetof(convert_args, name)

static const an_option options[] = {
    {.name = "to", .kind = AN_OPT_STR, .offset = FIELD(to), .arg = "FORMAT", .help = "The format to make: mlx, gguf, hf"},
    {.name = "dtype",
     .kind = AN_OPT_STR,
     .offset = FIELD(dtype),
     .arg = "TYPE",
     .help = "Of weights that are not quantized: f16, bf16, f32 (default: as stored)"},
    {.name = "quantize",
     .kind = AN_OPT_STR,
     .offset = FIELD(quantize),
     .arg = "TYPE",
     .help = "Quantize the weights: 4bit, 8bit-g32, mixed_4_6, none (MLX); Q4_K_M, Q8_0 (GGUF)"},
    {.name = "tensor-type",
     .kind = AN_OPT_LIST,
     .offset = FIELD(tensor_type),
     .arg = "PATTERN=TYPE",
     .help = "The type of weights whose name contains PATTERN; may be repeated, the first counts"},
    {.name = "allow-requantize",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(allow_requantize),
     .help = "Quantize weights anew that are quantized already"},
    {.name = "dry-run", .kind = AN_OPT_FLAG, .offset = FIELD(dry_run), .help = "Only say what would be written"},
    AN_ROW_THREADS(FIELD(threads)),
    {.name = "force", .kind = AN_OPT_FLAG, .offset = FIELD(force), .help = "Replace DST when it is a model"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = FIELD(json), .help = "Print the result as JSON"},
    AN_ROW_QUIET(FIELD(quiet)),
    AN_OPTION_END,
};

typedef anemo_status convert_fn(const char *src, const char *dst, const an_convert_options *options,
                                an_convert_result *result, anemo_error *err);

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
    if (r->n_rounded > 0 || dry_run) an_cli_print_classes(&r->classes, dry_run);
    for (size_t i = 0; i < r->n_note; i++) printf("note: %s\n", r->notes[i]);
    if (dry_run) return;
    printf("%s: %zu tensors, %zu of them quantized, %.1f MB of weights\n", dst, r->n_tensor, r->n_quantized,
           (double)r->weight_bytes / 1e6);
    if (r->n_rounded == 0) printf("exact: every weight is the source's\n");
    else printf("rounded: the values of %zu tensors\n", r->n_rounded);
}

static anemo_status print_json(const char *dst, const an_convert_result *r, bool dry_run, anemo_error *err)
{
    json_t *notes = json_array();
    for (size_t i = 0; i < r->n_note; i++) json_array_append_new(notes, json_string(r->notes[i]));
    json_t *root = json_pack("{s:s,s:I,s:I,s:I,s:o,s:o}", "path", dst, "tensors", (json_int_t)r->n_tensor, "quantized",
                             (json_int_t)r->n_quantized, "bytes", (json_int_t)r->weight_bytes, "classes",
                             an_cli_json_classes(&r->classes, dry_run), "notes", notes);
    if (root && !dry_run) json_object_set_new(root, "rounded", json_integer((json_int_t)r->n_rounded));
    if (root && !dry_run) json_object_set_new(root, "exact", json_boolean(r->n_rounded == 0));
    return an_cli_print_json(root, JSON_INDENT(2), err);
}

static anemo_status take_target(const char *to, convert_fn **fn, anemo_error *err)
{
    static const char *const names[] = {"mlx", "gguf", "hf", NULL};
    static convert_fn *const fns[] = {an_convert_to_mlx, an_convert_to_gguf, an_convert_to_hf};
    if (!to) return an_fail(err, ANEMO_ERR_INVAL, "--to is missing; it can be mlx, gguf or hf");
    anemo_status status = an_cli_one_of("--to", to, names, err);
    for (int i = 0; names[i]; i++)
        if (!strcmp(to, names[i])) *fn = fns[i];
    return status;
}

static anemo_status convert(const convert_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *src = NULL;
    convert_fn *fn = NULL;
    const char *dst = pos->n == 2 ? pos->items[1] : "";
    an_convert_result result = {0};
    an_convert_options opt = {.force = args->force,
                              .dry_run = args->dry_run,
                              .allow_requantize = args->allow_requantize,
                              .quantize = args->quantize,
                              .overrides = (const char *const *)args->tensor_type.items,
                              .n_override = args->tensor_type.n,
                              .n_thread = args->threads ? (int)args->threads : an_cpu_usable(),
                              .progress = an_cli_show_weights,
                              .stop = an_interrupts_watch()};
    if (pos->n != 2 && !(pos->n == 1 && args->dry_run))
        return an_fail(err, ANEMO_ERR_INVAL, "needs a source and a destination: anemo convert SRC DST --to mlx");
    AN_TRY(take_target(args->to, &fn, err));
    AN_TRY(take_dtype(args->dtype, &opt.dtype, err));
    AN_TRY(an_cli_model_path(pos->items[0], &src, err));
    opt.progress_ctx = an_progress_begin(2, args->quiet || args->json);
    status = fn(src, dst, &opt, &result, err);
    an_progress_end(opt.progress_ctx);
    if (status == ANEMO_OK && args->json) AN_TRY(print_json(dst, &result, args->dry_run, err));
    else if (status == ANEMO_OK && !args->quiet) print_result(dst, &result, args->dry_run);
    if (status == ANEMO_OK && fflush(stdout) != 0) status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
cleanup:
    an_convert_result_free(&result);
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
    .summary = "Make an MLX, GGUF or Hugging Face form of a model, exact where the format allows",
    .details = "SRC is a GGUF file or a directory: MLX, Hugging Face (safetensors or PyTorch), Mistral's own. Weights keep their\n"
               "values where DST can hold them: GGUF's Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K become MLX groups of 32 and back.\n"
               "What it cannot hold is refused by name until --dtype or --quantize says what becomes of it. DST appears whole\n"
               "or not at all.",
    .options = options,
    .args_bytes = sizeof(convert_args),
    .run = run,
};

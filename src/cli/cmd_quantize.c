/* anemo quantize: a model in one of llama.cpp's mixes or in one of MLX's types. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/print_classes.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/str.h"
#include "convert/convert.h"
#include "convert/mlx_type.h"
#include "convert/quantize.h"
#include "convert/to_gguf.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/process.h"
#include "os/terminal.h"

#include <stdio.h>
#include <string.h>

typedef struct quantize_args {
    int64_t threads;
    const char *imatrix, *output_type, *embedding_type;
    an_opt_list tensor_types;
    bool keep_output, pure, allow_requantize, force, dry_run, quiet, json;
} quantize_args;

#define FIELD(name) offsetof(quantize_args, name)

static const an_option options[] = {
    AN_ROW_THREADS(FIELD(threads)),
    {.name = "imatrix",
     .kind = AN_OPT_STR,
     .offset = FIELD(imatrix),
     .arg = "FILE",
     .help = "Importance matrix: errors in columns that matter weigh more"},
    {.name = "tensor-type",
     .kind = AN_OPT_EACH,
     .offset = FIELD(tensor_types),
     .arg = "PATTERN=TYPE",
     .help = "Type of the tensors in whose names the pattern is found; may be repeated"},
    {.name = "output-tensor-type",
     .kind = AN_OPT_STR,
     .offset = FIELD(output_type),
     .arg = "TYPE",
     .help = "Type of the output matrix"},
    {.name = "token-embedding-type",
     .kind = AN_OPT_STR,
     .offset = FIELD(embedding_type),
     .arg = "TYPE",
     .help = "Type of the token embedding"},
    {.name = "pure", .kind = AN_OPT_FLAG, .offset = FIELD(pure), .help = "No mix: every matrix gets the same type"},
    {.name = "keep-output",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(keep_output),
     .help = "Leave output.weight as it is"},
    {.name = "allow-requantize",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(allow_requantize),
     .help = "Take a source that is quantized already"},
    {.name = "dry-run",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(dry_run),
     .help = "Only say what would be written"},
    {.name = "force", .kind = AN_OPT_FLAG, .offset = FIELD(force), .help = "Replace DST when it is there"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = FIELD(json), .help = "The summary as JSON"},
    AN_ROW_QUIET(FIELD(quiet)),
    AN_OPTION_END,
};

static anemo_status unknown_type(const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_ERR_NOMEM;
    an_str list = {0};
    for (size_t i = 0; an_mix_at(i); i++) an_str_appendf(&list, "%s%s", i ? " " : "", an_mix_at(i)->name);
    status = an_fail(err, ANEMO_ERR_INVAL, "'%s' is no type that can be made; there are %s for GGUF, and for MLX %s", name,
                     an_str_text(&list), an_mlx_type_list());
    an_str_free(&list);
    return status;
}

/* How much of the model the importance matrix knows. */
static void print_coverage(const an_quantize_result *r)
{
    printf("importance matrix: %zu of %zu matrices that get another type have an entry", r->n_weighed,
           r->n_weighed + r->n_unweighed);
    if (r->n_unweighed) printf("; %s%s without", r->unweighed, r->n_unweighed > 1 ? " and others are" : " is");
    putchar('\n');
}

static anemo_status print_result(const quantize_args *args, const an_quantize_result *r, anemo_error *err)
{
    if (args->json) {
        json_t *o = json_pack("{s:o,s:I,s:I,s:I,s:b}", "classes", an_cli_json_classes(&r->classes, args->dry_run), "weights",
                              (json_int_t)r->n_weight, "weight_bytes", (json_int_t)r->bytes, "file_bytes",
                              (json_int_t)r->file_bytes, "dry_run", args->dry_run);
        if (o && args->imatrix)
            json_object_set_new(o, "imatrix", json_pack("{s:I,s:I}", "matrices_with_entry", (json_int_t)r->n_weighed,
                                                        "matrices_without_entry", (json_int_t)r->n_unweighed));
        return an_cli_print_json(o, JSON_INDENT(2), err);
    }
    if (args->quiet) return ANEMO_OK;
    an_cli_print_classes(&r->classes, args->dry_run);
    if (args->imatrix) print_coverage(r);
    printf("file: %.1f MB, the weights were %.1f MB\n", (double)r->file_bytes / 1e6, (double)r->source_bytes / 1e6);
    return fflush(stdout) == 0 ? ANEMO_OK : an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
}

static anemo_status quantize_gguf(const quantize_args *args, const char *src, const char *dst, const an_mix *mix,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_imatrix *imatrix = NULL;
    an_tensor_types *types = NULL;
    an_dtype output, embedding;
    an_quantize_result result = {0};
    an_quantize_options o = {.mix = mix,
                             .n_thread = args->threads ? (int)args->threads : an_cpu_usable(),
                             .keep_output = args->keep_output,
                             .pure = args->pure,
                             .allow_requantize = args->allow_requantize,
                             .force = args->force,
                             .dry_run = args->dry_run,
                             .imatrix_path = args->imatrix,
                             .progress = an_cli_show_weights,
                             .stop = an_interrupts_watch()};
    if (args->output_type) AN_TRY(an_tensor_type_find(args->output_type, &output, err));
    if (args->embedding_type) AN_TRY(an_tensor_type_find(args->embedding_type, &embedding, err));
    o.output = args->output_type ? &output : NULL;
    o.embedding = args->embedding_type ? &embedding : NULL;
    AN_TRY(an_tensor_types_make(&types, (const char *const *)args->tensor_types.items, args->tensor_types.n, err));
    o.overrides = types;
    if (args->imatrix) AN_TRY(an_imatrix_open(&imatrix, args->imatrix, err));
    o.imatrix = imatrix;
    o.progress_ctx = an_progress_begin(2, args->quiet || args->json);
    status = an_quantize_gguf(src, dst, &o, &result, err);
    an_progress_end(o.progress_ctx);
    if (status == ANEMO_OK) status = print_result(args, &result, err);
cleanup:
    an_quantize_result_free(&result);
    an_tensor_types_free(types);
    an_imatrix_close(imatrix);
    return status;
}

/* What only the way from GGUF to GGUF knows. */
static anemo_status refuse_gguf_options(const quantize_args *args, anemo_error *err)
{
    const char *name = args->imatrix          ? "imatrix"
                       : args->output_type    ? "output-tensor-type"
                       : args->embedding_type ? "token-embedding-type"
                       : args->pure           ? "pure"
                       : args->keep_output    ? "keep-output"
                                              : NULL;
    if (!name) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL,
                   "--%s is for GGUF files in a type of llama.cpp's; make one first: anemo convert SRC DST.gguf --to gguf", name);
}

static anemo_status print_converted(const quantize_args *args, const an_convert_result *r, anemo_error *err)
{
    if (args->json) {
        json_t *notes = json_array();
        for (size_t i = 0; i < r->n_note; i++) json_array_append_new(notes, json_string(r->notes[i]));
        return an_cli_print_json(json_pack("{s:o,s:I,s:o,s:b}", "classes", an_cli_json_classes(&r->classes, args->dry_run),
                                           "weight_bytes", (json_int_t)r->weight_bytes, "notes", notes, "dry_run",
                                           args->dry_run),
                                 JSON_INDENT(2), err);
    }
    if (args->quiet) return ANEMO_OK;
    an_cli_print_classes(&r->classes, args->dry_run);
    for (size_t i = 0; i < r->n_note; i++) printf("note: %s\n", r->notes[i]);
    return fflush(stdout) == 0 ? ANEMO_OK : an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
}

/* Another container on one side: a conversion that quantizes. */
static anemo_status quantize_by_conversion(const quantize_args *args, const char *src, const char *dst, const char *type,
                                           bool to_gguf, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_convert_result result = {0};
    an_convert_options o = {.force = args->force,
                            .dry_run = args->dry_run,
                            .allow_requantize = args->allow_requantize,
                            .quantize = type,
                            .overrides = (const char *const *)args->tensor_types.items,
                            .n_override = args->tensor_types.n,
                            .n_thread = args->threads ? (int)args->threads : an_cpu_usable(),
                            .progress = an_cli_show_weights,
                            .stop = an_interrupts_watch()};
    AN_TRY(refuse_gguf_options(args, err));
    o.progress_ctx = an_progress_begin(2, args->quiet || args->json);
    status = to_gguf ? an_convert_to_gguf(src, dst, &o, &result, err) : an_convert_to_mlx(src, dst, &o, &result, err);
    an_progress_end(o.progress_ctx);
    if (status == ANEMO_OK) status = print_converted(args, &result, err);
cleanup:
    an_convert_result_free(&result);
    return status;
}

static anemo_status quantize(const quantize_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *src = NULL;
    an_mlx_type mlx_type;
    const char *type = pos->n > 0 ? pos->items[pos->n - 1] : "";
    if (pos->n != 3 && !(args->dry_run && pos->n == 2))
        return an_fail(err, ANEMO_ERR_INVAL, "needs a source, a destination and a type: anemo quantize SRC.gguf DST.gguf Q4_K_M");
    const an_mix *mix = an_mix_find(type);
    if (!mix && (!an_mlx_type_find(type, &mlx_type) || mlx_type.none)) return unknown_type(type, err);
    AN_TRY(an_cli_model_path(pos->items[0], &src, err));
    if (mix && an_path_probe(src) != AN_PATH_DIR) AN_TRY(quantize_gguf(args, src, pos->items[1], mix, err));
    else AN_TRY(quantize_by_conversion(args, src, pos->items[1], type, mix != NULL, err));
cleanup:
    an_free(src);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    quantize_args args = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(&an_cmd_quantize, argc, argv, &args, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("quantize", &err);
    anemo_status status = help ? ANEMO_OK : quantize(&args, &pos, &err);
    an_options_free(&an_cmd_quantize, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("quantize", &err);
}

const an_command an_cmd_quantize = {
    .name = "quantize",
    .args = "SRC DST TYPE",
    .summary = "Make a model with fewer bits a weight",
    .details = "SRC is a GGUF file or any directory that anemo convert takes. TYPE decides what DST is. A GGUF file:\n"
               "  Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ4_NL IQ4_XS F16 BF16 F32\n"
               "From a GGUF file the tensors come out byte for byte as llama-quantize makes them with the same options;\n"
               "metadata and tokenizer are carried over, split files become one. FILE is what llama-imatrix writes, in its old or\n"
               "its GGUF form. An MLX directory: 4bit (2 3 4 5 6 8; -g32 -g64 -g128 may follow), mxfp4, mxfp8, nvfp4, mixed_4_6 …",
    .options = options,
    .args_bytes = sizeof(quantize_args),
    .run = run,
};

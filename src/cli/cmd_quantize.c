/* anemo quantize: a GGUF model in one of llama.cpp's mixes. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/print_classes.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/str.h"
#include "convert/quantize.h"
#include "os/cpu.h"
#include "os/process.h"
#include "os/terminal.h"

#include <stdio.h>
#include <string.h>

typedef struct quantize_args {
    int64_t threads;
    bool keep_output, allow_requantize, force, dry_run, quiet;
} quantize_args;

#define FIELD(name) offsetof(quantize_args, name)

static const an_option options[] = {
    AN_ROW_THREADS(FIELD(threads)),
    {.name = "keep-output",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(keep_output),
     .help = "Leave the output matrix as it is"},
    {.name = "allow-requantize",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(allow_requantize),
     .help = "Take a source that is quantized already"},
    {.name = "dry-run",
     .kind = AN_OPT_FLAG,
     .offset = FIELD(dry_run),
     .help = "Only say what would be written"},
    {.name = "force", .kind = AN_OPT_FLAG, .offset = FIELD(force), .help = "Replace DST when it is there"},
    AN_ROW_QUIET(FIELD(quiet)),
    AN_OPTION_END,
};

static anemo_status unknown_type(const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_ERR_NOMEM;
    an_str list = {0};
    for (size_t i = 0; an_mix_at(i); i++) an_str_appendf(&list, "%s%s", i ? " " : "", an_mix_at(i)->name);
    status = an_fail(err, ANEMO_ERR_INVAL, "'%s' is no type that can be made; there are %s", name, an_str_text(&list));
    an_str_free(&list);
    return status;
}

static anemo_status quantize(const quantize_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *src = NULL;
    const char *type = pos->n > 0 ? pos->items[pos->n - 1] : "";
    an_quantize_result result = {0};
    an_quantize_options o = {.n_thread = args->threads ? (int)args->threads : an_cpu_usable(),
                             .keep_output = args->keep_output,
                             .allow_requantize = args->allow_requantize,
                             .force = args->force,
                             .dry_run = args->dry_run,
                             .progress = an_cli_show_weights,
                             .stop = an_interrupts_watch()};
    if (pos->n != 3 && !(args->dry_run && pos->n == 2))
        return an_fail(err, ANEMO_ERR_INVAL, "needs a source, a destination and a type: anemo quantize SRC.gguf DST.gguf Q4_K_M");
    o.mix = an_mix_find(type);
    if (!o.mix) return unknown_type(type, err);
    AN_TRY(an_cli_model_path(pos->items[0], &src, err));
    o.progress_ctx = an_progress_begin(2, args->quiet);
    status = an_quantize_gguf(src, pos->items[1], &o, &result, err);
    an_progress_end(o.progress_ctx);
    if (status == ANEMO_OK && !args->quiet) an_cli_print_classes(&result.classes, args->dry_run);
    if (status == ANEMO_OK && fflush(stdout) != 0) status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
cleanup:
    an_quantize_result_free(&result);
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
    .args = "SRC.gguf DST.gguf TYPE",
    .summary = "Make a GGUF file with fewer bits a weight",
    .details = "TYPE is one of llama.cpp's: Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M\n"
               "Q5_K_S Q5_K_M Q6_K IQ4_NL IQ4_XS F16 BF16 F32. The tensors come out byte for byte as llama-quantize\n"
               "makes them without an importance matrix; metadata and tokenizer are carried over. Split files become one.",
    .options = options,
    .args_bytes = sizeof(quantize_args),
    .run = run,
};

/* anemo logits: what any engine that tells makes of given ids, as a NumPy file. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "drivers/driver.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

typedef struct logits_args {
    const char *engine, *ids, *out, *kv, *compute, *device;
    int64_t threads, ngl, timeout_s;
} logits_args;

#define FIELD(name) offsetof(logits_args, name)

static const an_option options[] = {
    {.name = "engine",
     .kind = AN_OPT_STR,
     .offset = FIELD(engine),
     .arg = "E",
     .help = "The engine (default: native)"},
    {.name = "ids",
     .kind = AN_OPT_STR,
     .offset = FIELD(ids),
     .arg = "FILE",
     .help = "JSON array of token ids, or an object with \"ids\"; or a list 1,2,3"},
    {.name = "output",
     .short_name = "o",
     .kind = AN_OPT_STR,
     .offset = FIELD(out),
     .arg = "FILE",
     .help = "Where the float32 array [n_tok][n_vocab] goes (.npy)"},
    AN_ROW_THREADS(FIELD(threads)),
    {.name = "kv",
     .kind = AN_OPT_STR,
     .offset = FIELD(kv),
     .arg = "TYPE",
     .help = "KV cache: f16 (default), bf16, q8_0 or f32"},
    {.name = "compute",
     .kind = AN_OPT_STR,
     .offset = FIELD(compute),
     .arg = "TYPE",
     .help = "Activations: auto (default), f32, f16, bf16, q8 or q8+bf16, where the engine has a choice"},
    AN_ROW_DEVICE(FIELD(device)),
    AN_ROW_GPU_LAYERS(FIELD(ngl)),
    AN_ROW_TIMEOUT(FIELD(timeout_s)),
    AN_OPTION_END,
};

/* NumPy's format 1.0: magic, length, a Python literal padded to 64 bytes, then the values. */
static anemo_status write_npy(const char *path, const float *x, size_t n_row, size_t n_col,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_file_writer w;
    an_str head = {0};
    an_str_append_bytes(&head, "\x93NUMPY\x01\x00\x00\x00", 10);
    an_str_appendf(&head, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", n_row,
                   n_col);
    an_str_append_repeat(&head, ' ', 63 - head.len % 64);
    an_str_append_char(&head, '\n');
    AN_TRY(an_str_check(&head, err));
    head.data[8] = (char)((head.len - 10) & 0xff);
    head.data[9] = (char)((head.len - 10) >> 8);
    status = an_file_writer_open(&w, path, err);
    if (status == ANEMO_OK) {
        status = an_file_writer_put(&w, head.data, head.len, err);
        if (status == ANEMO_OK) status = an_file_writer_put(&w, x, n_row * n_col * sizeof *x, err);
        if (status == ANEMO_OK) status = an_file_writer_commit(&w, err);
        an_file_writer_close(&w);
    }
cleanup:
    an_str_free(&head);
    return status;
}

static anemo_status check_args(const logits_args *a, const an_positional *pos, anemo_error *err)
{
    anemo_status status;
    if (pos->n != 1 || !a->ids || !a->out)
        return an_fail(err, ANEMO_ERR_INVAL, "expected one model, --ids FILE and -o FILE");
    AN_TRY(an_cli_one_of("--kv", a->kv, an_cli_kv_types, err));
    AN_TRY(an_cli_one_of("--compute", a->compute, an_cli_compute_types, err));
    AN_TRY(an_cli_one_of("--device", a->device, an_cli_devices, err));
cleanup:
    return status;
}

static int run(int argc, char **argv);

const an_command an_cmd_logits = {
    .name = "logits",
    .args = "MODEL --ids FILE -o OUT.npy",
    .summary = "Write an engine's logits for given token ids",
    .options = options,
    .args_bytes = sizeof(logits_args),
    .run = run,
};

static int run(int argc, char **argv)
{
    logits_args args = {.engine = "native",
                        .kv = "f16",
                        .compute = "auto",
                        .device = "auto",
                        .ngl = -1,
                        .timeout_s = 600};
    an_positional pos;
    anemo_error err = {0};
    bool help;
    char *model = NULL, **command = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    float *logits = NULL;
    int n_vocab = 0;
    an_client *client = NULL;
    an_load_result loaded = {0};
    const an_engine_info *engine = NULL;
    an_settings s = an_settings_default();
    anemo_status status = an_options_parse(&an_cmd_logits, argc, argv, &args, &pos, &help, &err);
    if (status != ANEMO_OK) return an_cli_fail("logits", &err);
    if (help) goto cleanup;
    AN_TRY(check_args(&args, &pos, &err));
    AN_TRY(an_cli_model_path(pos.items[0], &model, &err));
    AN_TRY(an_cli_engine_for(args.engine, model, &engine, &err));
    AN_TRY(an_cli_read_ids("--ids", args.ids, &ids, &n, &err));
    s.n_ctx = n < 1 << 28 ? (int)n : 1 << 28;
    s.kv_type = args.kv;
    s.compute_dtype = args.compute;
    s.device = args.device;
    s.n_gpu_layers = (int)args.ngl;
    if (args.threads) s.threads = s.threads_batch = (int)args.threads;
    const an_client_options o = {.timeout_ns = (uint64_t)args.timeout_s * 1000000000u};
    AN_TRY(an_engine_command(engine, NULL, &command, &err));
    AN_TRY(an_client_open(&client, (const char *const *)command, &o, &err));
    AN_TRY(an_client_load(client, model, &s, &loaded, &err));
    AN_TRY(an_client_logits(client, ids, n, &logits, &n_vocab, &err));
    AN_TRY(write_npy(args.out, logits, n, (size_t)n_vocab, &err));
cleanup:
    an_load_result_free(&loaded);
    an_client_close(client);
    an_argv_free(command);
    an_free(logits);
    an_free(ids);
    an_free(model);
    an_options_free(&an_cmd_logits, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("logits", &err);
}

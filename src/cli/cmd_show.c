/* anemo show: what a model is, from its container up; also for models that the native engine
 * refuses. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/show_source.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"
#include "token/tokenizer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPES_MAX = 48, CONFIG_BYTES_MAX = 16 << 20 };

typedef struct show_args {
    bool tensors, json, metadata, check;
} show_args;

static const an_option options[] = {
    {.name = "tensors",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(show_args, tensors),
     .help = "List every tensor: shape, type, bytes, offset, name"},
    {.name = "metadata",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(show_args, metadata),
     .help = "List the metadata keys of a GGUF file"},
    {.name = "json",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(show_args, json),
     .help = "Print JSON (anemo.show/1)"},
    {.name = "check",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(show_args, check),
     .help = "Read all weights: exit status 3 when one is NaN or infinite"},
    AN_OPTION_END,
};

/* One way of storing weights, summed over the model. */
typedef struct type_sum {
    char label[40];
    uint64_t n_tensor, n_param, bytes;
} type_sum;

/* All that is known of a model; `m` is NULL when it is refused. */
typedef struct model {
    const char *path;
    an_container container;
    an_model_file *m;
    an_gguf *gguf; /* of m, or own when m is NULL */
    an_safetensors *st;
    json_t *config;
    an_tokenizer *tokenizer; /* NULL when it cannot be read */
    anemo_error refusal, tokenizer_error;
    type_sum types[TYPES_MAX];
    size_t n_type;
    uint64_t n_param, weight_bytes;
} model;

/* ------------------------------------------------------------------------------------------------------
 * opening */

static anemo_status open_config(model *x, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *text = NULL, *path = an_path_join(x->path, "config.json");
    size_t n;
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_file_read(path, CONFIG_BYTES_MAX, &text, &n, err));
    AN_TRY(an_json_parse(&x->config, text, n, path, err));
cleanup:
    an_free(text);
    an_free(path);
    return status;
}

/* Is it the file's fault, and not that of memory, disk or system? */
static bool is_refusal(anemo_status status)
{
    return status == ANEMO_ERR_FORMAT || status == ANEMO_ERR_UNSUPPORTED || status == ANEMO_ERR_NOTFOUND;
}

/* The model, or when it is refused its container alone; fails when that cannot be read either. */
static anemo_status open_model(model *x, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    x->path = path;
    AN_TRY(an_model_probe(path, &x->container, err));
    status = an_model_file_open(&x->m, path, &x->refusal);
    if (status != ANEMO_OK && !is_refusal(status)) {
        *err = x->refusal;
        return status;
    }
    if (status == ANEMO_OK) {
        x->gguf = x->m->gguf;
        x->st = x->m->st;
        x->config = x->m->config;
    } else if (x->container == AN_CONTAINER_GGUF) {
        AN_TRY(an_gguf_open(&x->gguf, path, err));
    } else {
        AN_TRY(open_config(x, err));
        AN_TRY(an_safetensors_open(&x->st, path, err));
    }
    status = an_tokenizer_open(&x->tokenizer, path, &x->tokenizer_error);
    if (status != ANEMO_OK) x->tokenizer = NULL;
    /* A model is shown without a tokenizer that it lacks, but not without one that could not be read just now. */
    if (status == ANEMO_OK || is_refusal(status)) status = ANEMO_OK;
    else *err = x->tokenizer_error;
cleanup:
    return status;
}

static void close_model(model *x)
{
    an_tokenizer_close(x->tokenizer);
    if (!x->m) {
        an_gguf_close(x->gguf);
        an_safetensors_close(x->st);
        json_decref(x->config);
    }
    an_model_file_close(x->m);
}

/* --------------------------------------------------------------------------------------------------
 * quantization */

static void add_type(model *x, const char *label, uint64_t n_param, uint64_t bytes)
{
    size_t k = 0;
    while (k < x->n_type && strcmp(x->types[k].label, label))
        k++;
    if (k == TYPES_MAX) k--;
    if (k == x->n_type)
        snprintf(x->types[x->n_type++].label, sizeof x->types[k].label, "%s", label);
    x->types[k].n_tensor++;
    x->types[k].n_param += n_param;
    x->types[k].bytes += bytes;
    x->n_param += n_param;
    x->weight_bytes += bytes;
}

static uint64_t product(const int64_t *shape, int n_dim)
{
    uint64_t n = 1;
    for (int i = 0; i < n_dim; i++)
        n *= (uint64_t)shape[i]; /* checked by the reader not to overflow */
    return n;
}

/* A member of a module's own entry in the quantization section, else of the section itself. */
static const json_t *quantization_of(const model *x, const char *module, const char *key)
{
    const json_t *q = json_object_get(x->config, "quantization");
    if (!json_is_object(q)) q = json_object_get(x->config, "quantization_config");
    const json_t *own = json_object_get(json_object_get(q, module), key);
    return own ? own : json_object_get(q, key);
}

/*
 * The codes of a quantized module with its scales and biases (side_bytes in all), named by the
 * width and group that shapes and config.json give.
 */
static void add_codes(model *x, const an_st_tensor *codes, const an_st_tensor *scales,
                      uint64_t side_bytes, const char *module)
{
    char label[40];
    const json_t *mode = quantization_of(x, module, "mode");
    const json_t *group_value = quantization_of(x, module, "group_size");
    const char *mode_name = json_is_string(mode) ? json_string_value(mode) : "affine";
    int64_t usual = an_str_starts_with(mode_name, "mx") ? 32 : strcmp(mode_name, "nvfp4") == 0 ? 16 : 64;
    int64_t group = json_is_integer(group_value) ? json_integer_value(group_value) : usual;
    int64_t n_group = scales->n_dim ? scales->shape[scales->n_dim - 1] : 0;
    int64_t words = codes->n_dim ? codes->shape[codes->n_dim - 1] : 0;
    uint64_t n_word = product(codes->shape, codes->n_dim);
    if (group < 1 || group > 65536 || n_group < 1 || n_group > INT32_MAX || words < 1 ||
        words > INT32_MAX) {
        add_type(x, codes->dtype_name, n_word, codes->bytes + side_bytes);
        return;
    }
    snprintf(label, sizeof label, "%" PRId64 "-bit %.12s g%" PRId64, 32 * words / (n_group * group),
             mode_name, group);
    add_type(x, label, n_word / (uint64_t)words * (uint64_t)(n_group * group),
             codes->bytes + side_bytes);
}

/* The part of a tensor's name before ".weight", ".scales", …; false when it does not end so. */
static bool module_of(const char *name, const char *tail, char *module, size_t cap)
{
    size_t len = strlen(name), n = strlen(tail);
    if (!an_str_ends_with(name, tail) || len - n >= cap) return false;
    memcpy(module, name, len - n);
    module[len - n] = '\0';
    return true;
}

static const an_st_tensor *sibling(const model *x, const char *module, const char *tail)
{
    char name[600];
    snprintf(name, sizeof name, "%s%s", module, tail);
    return an_safetensors_find(x->st, name);
}

/* The scales that make `t` the codes of a quantized module; NULL when it is none. */
static const an_st_tensor *scales_of(const model *x, const an_st_tensor *t, char *module,
                                     size_t cap)
{
    return module_of(t->name, ".weight", module, cap) ? sibling(x, module, ".scales") : NULL;
}

static void sum_safetensors(model *x)
{
    for (size_t i = 0; i < an_safetensors_n_tensor(x->st); i++) {
        const an_st_tensor *t = an_safetensors_tensor_at(x->st, i), *scales;
        char module[512];
        if ((scales = scales_of(x, t, module, sizeof module)) != NULL) {
            const an_st_tensor *biases = sibling(x, module, ".biases");
            add_codes(x, t, scales, scales->bytes + (biases ? biases->bytes : 0), module);
            continue;
        }
        bool side = module_of(t->name, ".scales", module, sizeof module) ||
                    module_of(t->name, ".biases", module, sizeof module);
        if (side && sibling(x, module, ".weight") && sibling(x, module, ".scales")) continue;
        add_type(x, t->dtype_name, product(t->shape, t->n_dim), t->bytes);
    }
}

static int cmp_type(const void *pa, const void *pb)
{
    const type_sum *a = pa, *b = pb;
    return a->bytes > b->bytes ? -1 : a->bytes < b->bytes;
}

static void sum_types(model *x)
{
    for (size_t i = 0; x->gguf && i < an_gguf_n_tensor(x->gguf); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(x->gguf, i);
        add_type(x, an_ggml_type_name(t->ggml_type), product(t->shape, t->n_dim), t->bytes);
    }
    if (x->st) sum_safetensors(x);
    qsort(x->types, x->n_type, sizeof *x->types, cmp_type);
}

static double bits_per_weight(uint64_t bytes, uint64_t n_param)
{
    return n_param ? 8.0 * (double)bytes / (double)n_param : 0;
}

/* ---------------------------------------------------------------------------------------------------
 * small facts */

static uint64_t file_bytes(const model *x)
{
    return x->gguf ? an_gguf_file_bytes(x->gguf) : an_safetensors_file_bytes(x->st);
}

static size_t n_file(const model *x)
{
    return x->gguf ? (size_t)an_gguf_n_shard(x->gguf) : an_safetensors_n_file(x->st);
}

/* The architecture as the container names it. */
static void architecture(const model *x, char *out, size_t cap)
{
    an_bytes arch = {"unknown", 7};
    const char *type = "unknown";
    if (x->gguf &&
        an_gguf_get_str(x->gguf, "general.architecture", false, &arch, NULL) == ANEMO_OK) {
        snprintf(out, cap, "%.*s", (int)(arch.len < 60 ? arch.len : 60), arch.data);
    } else {
        const json_t *v = json_object_get(x->config, "model_type");
        if (json_is_string(v)) type = json_string_value(v);
        snprintf(out, cap, "%.60s", type);
    }
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
}

static const char *vocab_name(an_vocab_kind kind)
{
    switch (kind) {
    case AN_VOCAB_SPM:
        return "SentencePiece BPE";
    case AN_VOCAB_BPE:
        return "byte-level BPE";
    case AN_VOCAB_TEKKEN:
        return "Tekken";
    }
    return "unknown";
}

static const char *rope_name(an_rope_scaling scaling)
{
    static const char *const names[] = {"none", "linear", "dynamic", "yarn", "llama3"};
    return names[scaling];
}

/* "[49152, 576]" */
static void shape_text(const int64_t *shape, int n_dim, an_str *out)
{
    an_str_append_char(out, '[');
    for (int i = 0; i < n_dim; i++)
        an_str_appendf(out, i ? ", %" PRId64 : "%" PRId64, shape[i]);
    an_str_append_char(out, ']');
}

/* A scalar of GGUF metadata as text; arrays by their type and length. */
static void kv_text(const an_gguf_kv *kv, an_str *out)
{
    const unsigned char *p = kv->value;
    uint64_t u = 0;
    float f;
    double d;
    if (kv->value_bytes <= 8) memcpy(&u, p, (size_t)kv->value_bytes);
    switch (kv->type) {
    case AN_GGUF_U8:
    case AN_GGUF_U16:
    case AN_GGUF_U32:
    case AN_GGUF_U64:
        an_str_appendf(out, "%" PRIu64, u);
        break;
    case AN_GGUF_I8:
        an_str_appendf(out, "%d", (int8_t)u);
        break;
    case AN_GGUF_I16:
        an_str_appendf(out, "%d", (int16_t)u);
        break;
    case AN_GGUF_I32:
        an_str_appendf(out, "%" PRId32, (int32_t)u);
        break;
    case AN_GGUF_I64:
        an_str_appendf(out, "%" PRId64, (int64_t)u);
        break;
    case AN_GGUF_F32:
        memcpy(&f, p, 4);
        an_str_appendf(out, "%g", (double)f);
        break;
    case AN_GGUF_F64:
        memcpy(&d, p, 8);
        an_str_appendf(out, "%g", d);
        break;
    case AN_GGUF_BOOL:
        an_str_append(out, u ? "true" : "false");
        break;
    case AN_GGUF_STRING:
        for (uint64_t i = 0; i < kv->value_bytes && i < 200; i++) {
            if (p[i] < 0x20 || p[i] == 0x7F)
                an_str_appendf(out, "\\x%02x", p[i]);
            else
                an_str_append_char(out, (char)p[i]);
        }
        if (kv->value_bytes > 200) an_str_appendf(out, "… (%" PRIu64 " bytes)", kv->value_bytes);
        break;
    default:
        an_str_appendf(out, "%" PRIu64 " x %s", kv->n, an_gguf_type_name(kv->elem_type));
        break;
    }
}

/* ---------------------------------------------------------------------------------------------------------
 * text */

static void print_hparams(const an_hparams *hp, an_str *out)
{
    an_str_appendf(out, "layers          %d\n", hp->n_layer);
    an_str_appendf(out, "embedding       %d\n", hp->n_embd);
    an_str_appendf(out, "feed-forward    %d\n", hp->n_ff);
    an_str_appendf(out, "heads           %d, key-value %d, of %d\n", hp->n_head, hp->n_head_kv,
                   hp->head_dim);
    an_str_appendf(out, "vocabulary      %d, output %s\n", hp->n_vocab,
                   hp->tied ? "tied" : "of its own");
    an_str_appendf(out, "context         %d\n", hp->n_ctx_train);
    an_str_appendf(out, "rope            theta %g, scaling %s", hp->rope_theta,
                   hp->rope_freq_factors ? "by rope_freqs.weight" : rope_name(hp->rope_scaling));
    if (hp->rope_scaling != AN_ROPE_NONE)
        an_str_appendf(out, ", factor %g from %d", hp->rope_factor, hp->rope_n_ctx_orig);
    an_str_append(out, "\n");
}

static void print_tokenizer(const model *x, an_str *out)
{
    const an_tokenizer *t = x->tokenizer;
    if (!t) {
        an_str_appendf(out, "tokenizer       not read: %s\n", x->tokenizer_error.message);
        return;
    }
    const char *pre = an_tokenizer_pre(t);
    an_str_appendf(out, "tokenizer       %s%s%s, %d tokens, BOS %s\n",
                   vocab_name(an_tokenizer_kind(t)), pre[0] ? ", " : "", pre,
                   an_tokenizer_n_vocab(t), an_tokenizer_add_bos(t) ? "added" : "not added");
    an_str_appendf(out, "chat format     %s\n", an_chat_format_name(an_tokenizer_chat_format(t)));
}

static void print_types(const model *x, an_str *out)
{
    an_str_appendf(out, "parameters      %" PRIu64 "\n", x->n_param);
    an_str_appendf(out, "weights         %.1f MB, %.3f bits per weight\n",
                   (double)x->weight_bytes / 1e6, bits_per_weight(x->weight_bytes, x->n_param));
    an_str_append(
        out, "\n  type               tensors    parameters         bytes   share  bits/weight\n");
    for (size_t i = 0; i < x->n_type; i++) {
        const type_sum *t = &x->types[i];
        an_str_appendf(out, "  %-18s %7" PRIu64 " %13" PRIu64 " %13" PRIu64 " %6.1f%% %12.4f\n",
                       t->label, t->n_tensor, t->n_param, t->bytes,
                       x->weight_bytes ? 100.0 * (double)t->bytes / (double)x->weight_bytes : 0.0,
                       bits_per_weight(t->bytes, t->n_param));
    }
}

static void print_tensors(const model *x, an_str *out)
{
    an_str shape = {0};
    an_str_append(out, "\n  shape                  type              bytes        offset  name\n");
    for (size_t i = 0; x->gguf && i < an_gguf_n_tensor(x->gguf); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(x->gguf, i);
        an_str_clear(&shape);
        shape_text(t->shape, t->n_dim, &shape);
        an_str_appendf(out, "  %-22s %-9s %13" PRIu64 " %13" PRIu64 "  %s\n", an_str_text(&shape),
                       an_ggml_type_name(t->ggml_type), t->bytes, t->offset, t->name);
    }
    for (size_t i = 0; x->st && i < an_safetensors_n_tensor(x->st); i++) {
        const an_st_tensor *t = an_safetensors_tensor_at(x->st, i);
        an_str_clear(&shape);
        shape_text(t->shape, t->n_dim, &shape);
        an_str_appendf(out, "  %-22s %-9s %13" PRIu64 " %13" PRIu64 "  %s\n", an_str_text(&shape),
                       t->dtype_name, t->bytes, t->offset, t->name);
    }
    if (shape.failed) out->failed = true;
    an_str_free(&shape);
}

static void print_metadata(const model *x, an_str *out)
{
    an_str_append(out, "\n");
    for (size_t i = 0; x->gguf && i < an_gguf_n_kv(x->gguf); i++) {
        const an_gguf_kv *kv = an_gguf_kv_at(x->gguf, i);
        an_str_append(out, "  ");
        for (uint64_t k = 0; k < kv->key.len && k < 200; k++)
            an_str_append_char(out, (unsigned char)kv->key.data[k] < 0x20 ? '?' : kv->key.data[k]);
        an_str_append(out, " = ");
        kv_text(kv, out);
        an_str_append(out, "\n");
    }
}

static void print_text(const model *x, const show_args *args, an_str *out)
{
    char arch[64];
    architecture(x, arch, sizeof arch);
    an_str_appendf(out, "path            %s\n", x->path);
    if (x->gguf)
        an_str_appendf(out, "container       GGUF version %u", (unsigned)an_gguf_version(x->gguf));
    else
        an_str_append(out, "container       MLX / Hugging Face directory");
    an_str_appendf(out, ", %zu file%s, %.1f MB\n", n_file(x), n_file(x) == 1 ? "" : "s",
                   (double)file_bytes(x) / 1e6);
    an_str_appendf(out, "architecture    %s\n", arch);
    if (x->m) {
        an_str_appendf(out, "name            %s\n", x->m->name);
        an_str_appendf(out, "quantization    %s\n", x->m->quantization);
        print_hparams(&x->m->hp, out);
    } else {
        an_str_appendf(out, "refused         %s\n", x->refusal.message);
    }
    print_tokenizer(x, out);
    print_types(x, out);
    if (args->tensors) print_tensors(x, out);
    if (args->metadata || (!x->m && x->gguf)) print_metadata(x, out);
}

/* ---------------------------------------------------------------------------------------------------------
 * JSON */

static json_t *json_hparams(const an_hparams *hp)
{
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:s,s:f,s:i,s:f,s:b}", "n_layer",
                     hp->n_layer, "n_embd", hp->n_embd, "n_ff", hp->n_ff, "n_head", hp->n_head,
                     "n_head_kv", hp->n_head_kv, "head_dim", hp->head_dim, "n_vocab", hp->n_vocab,
                     "n_ctx_train", hp->n_ctx_train, "norm_eps", hp->norm_eps, "rope_theta",
                     hp->rope_theta, "rope_scaling",
                     hp->rope_freq_factors ? "llama3" : rope_name(hp->rope_scaling), "rope_factor",
                     hp->rope_factor, "rope_n_ctx_orig", hp->rope_n_ctx_orig, "rope_attn_factor",
                     hp->rope_attn_factor, "tied", hp->tied);
}

static json_t *json_tokenizer(const model *x)
{
    const an_tokenizer *t = x->tokenizer;
    if (!t)
        return json_pack(
            "{s:o}", "error",
            an_json_text(x->tokenizer_error.message, strlen(x->tokenizer_error.message)));
    return json_pack("{s:s,s:o,s:i,s:i,s:i,s:b,s:b,s:s}", "kind", vocab_name(an_tokenizer_kind(t)),
                     "pre", an_json_text(an_tokenizer_pre(t), strlen(an_tokenizer_pre(t))),
                     "n_vocab", (int)an_tokenizer_n_vocab(t), "bos", (int)an_tokenizer_bos(t),
                     "eos", (int)an_tokenizer_eos(t), "add_bos", an_tokenizer_add_bos(t), "add_eos",
                     an_tokenizer_add_eos(t), "chat_format",
                     an_chat_format_name(an_tokenizer_chat_format(t)));
}

static json_t *json_types(const model *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_type; i++) {
        const type_sum *t = &x->types[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:I,s:I,s:I,s:f}", "type", t->label, "tensors",
                                        (json_int_t)t->n_tensor, "parameters",
                                        (json_int_t)t->n_param, "bytes", (json_int_t)t->bytes,
                                        "bits_per_weight", bits_per_weight(t->bytes, t->n_param)));
    }
    return list;
}

static json_t *json_tensor(const char *name, const char *type, const int64_t *shape, int n_dim,
                           uint64_t bytes, uint64_t offset, int file)
{
    json_t *dims = json_array();
    for (int i = 0; i < n_dim; i++)
        json_array_append_new(dims, json_integer(shape[i]));
    return json_pack("{s:o,s:s,s:o,s:I,s:I,s:i}", "name", an_json_text(name, strlen(name)), "type",
                     type, "shape", dims, "bytes", (json_int_t)bytes, "offset", (json_int_t)offset,
                     "file", file);
}

static json_t *json_tensors(const model *x)
{
    json_t *list = json_array();
    for (size_t i = 0; x->gguf && i < an_gguf_n_tensor(x->gguf); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(x->gguf, i);
        json_array_append_new(list, json_tensor(t->name, an_ggml_type_name(t->ggml_type), t->shape,
                                                t->n_dim, t->bytes, t->offset, t->shard));
    }
    for (size_t i = 0; x->st && i < an_safetensors_n_tensor(x->st); i++) {
        const an_st_tensor *t = an_safetensors_tensor_at(x->st, i);
        json_array_append_new(list, json_tensor(t->name, t->dtype_name, t->shape, t->n_dim,
                                                t->bytes, t->offset, t->file));
    }
    return list;
}

static json_t *json_metadata(const model *x)
{
    json_t *obj = json_object();
    for (size_t i = 0; x->gguf && i < an_gguf_n_kv(x->gguf); i++) {
        const an_gguf_kv *kv = an_gguf_kv_at(x->gguf, i);
        an_str value = {0};
        kv_text(kv, &value);
        json_t *key = an_json_text(kv->key.data, (size_t)(kv->key.len < 200 ? kv->key.len : 200));
        if (key)
            json_object_set_new(obj, json_string_value(key),
                                an_json_str(&value));
        json_decref(key);
        an_str_free(&value);
    }
    return obj;
}

static json_t *json_model(const model *x, const show_args *args)
{
    char arch[64];
    json_t *root = json_object();
    architecture(x, arch, sizeof arch);
    json_object_set_new(root, "schema", json_string("anemo.show/1"));
    json_object_set_new(root, "path", an_json_text(x->path, strlen(x->path)));
    json_object_set_new(root, "container", json_string(x->gguf ? "gguf" : "mlx"));
    if (x->gguf) {
        json_object_set_new(root, "gguf_version",
                            json_integer((json_int_t)an_gguf_version(x->gguf)));
        json_object_set_new(root, "alignment",
                            json_integer((json_int_t)an_gguf_alignment(x->gguf)));
    }
    json_object_set_new(root, "files", json_integer((json_int_t)n_file(x)));
    json_object_set_new(root, "file_bytes", json_integer((json_int_t)file_bytes(x)));
    json_object_set_new(root, "architecture", an_json_text(arch, strlen(arch)));
    json_object_set_new(root, "supported", json_boolean(x->m != NULL));
    json_object_set_new(root, "reason",
                        x->m ? json_null()
                             : an_json_text(x->refusal.message, strlen(x->refusal.message)));
    if (x->m) {
        json_object_set_new(root, "name", an_json_text(x->m->name, strlen(x->m->name)));
        json_object_set_new(root, "quantization", json_string(x->m->quantization));
        json_object_set_new(root, "hyperparameters", json_hparams(&x->m->hp));
    }
    json_object_set_new(root, "tokenizer", json_tokenizer(x));
    json_object_set_new(root, "parameters", json_integer((json_int_t)x->n_param));
    json_object_set_new(root, "weight_bytes", json_integer((json_int_t)x->weight_bytes));
    json_object_set_new(root, "bits_per_weight",
                        json_real(bits_per_weight(x->weight_bytes, x->n_param)));
    json_object_set_new(root, "types", json_types(x));
    if (args->tensors) json_object_set_new(root, "tensors", json_tensors(x));
    if (args->metadata) json_object_set_new(root, "metadata", json_metadata(x));
    return root;
}

static anemo_status print_model(const model *x, const show_args *args, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str out = {0};
    if (args->json) {
        AN_TRY(an_json_write(json_model(x, args), JSON_INDENT(2) | JSON_REAL_PRECISION(9), &out, err));
        an_str_append_char(&out, '\n');
    } else {
        print_text(x, args, &out);
        /* Names come from the file; they may not steer the terminal. */
        for (size_t i = 0; i < out.len; i++)
            if (((unsigned char)out.data[i] < 0x20 && out.data[i] != '\n') || out.data[i] == 0x7F)
                out.data[i] = '?';
    }
    AN_TRY(an_str_check(&out, err));
    if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        status = an_fail_errno(err, errno, "write", "stdout");
cleanup:
    an_str_free(&out);
    return status;
}

static int run(int argc, char **argv);

const an_command an_cmd_show = {
    .name = "show",
    .args = "MODEL",
    .summary = "Say what a model is: container, shape, quantization, tokenizer",
    .details = "A model that the native engine refuses is shown as far as its container tells, "
               "with the reason, and the\n"
               "exit status is 3.",
    .options = options,
    .args_bytes = sizeof(show_args),
    .run = run,
};

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    show_args args = {0};
    an_positional pos;
    model x = {0};
    char *path = NULL;
    bool help;
    anemo_status status = an_options_parse(&an_cmd_show, argc, argv, &args, &pos, &help, &err);
    if (status != ANEMO_OK) return an_cli_fail("show", &err);
    if (help) goto cleanup;
    if (pos.n != 1) {
        status = an_fail(&err, ANEMO_ERR_INVAL, "needs one model: anemo show MODEL");
        goto cleanup;
    }
    AN_TRY(an_cli_model_path(pos.items[0], &path, &err));
    status = open_model(&x, path, &err);
    if (is_refusal(status) && an_path_probe(path) == AN_PATH_DIR)
        status = an_cli_show_source(path, args.json, x.refusal.message[0] ? &x.refusal : &err, &err);
    if (status != ANEMO_OK) goto cleanup;
    if (args.check && x.m) AN_TRY(an_model_check_values(x.m, &err));
    sum_types(&x);
    AN_TRY(print_model(&x, &args, &err));
    if (!x.m) {
        err = x.refusal;
        status = err.status;
    }
cleanup:
    close_model(&x);
    an_free(path);
    an_options_free(&an_cmd_show, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("show", &err);
}

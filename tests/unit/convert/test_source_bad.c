/*
 * Directories that are damaged, stale, mixed or hostile: each is refused with its own message, or
 * it is said which set of its files counts. Made of copies of tests/golden/convert/models.
 */
#include "support/files.h"

#include "convert/convert.h"
#include "convert/source.h"
#include "format/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define MODELS AN_TEST_DIR "/golden/convert/models/"

static char folder[64];
static anemo_error err;

static void new_folder(void)
{
    strcpy(folder, "/tmp/anemo-source-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static char *in_folder(const char *name)
{
    char *path = an_path_join(folder, name);
    assert_non_null(path);
    return path;
}

static void read_whole(const char *path, char **data, size_t *n)
{
    assert_ok(an_file_read(path, 1 << 24, data, n, &err), &err);
}

static void write_whole(const char *name, const void *data, size_t n)
{
    char *path = in_folder(name);
    assert_ok(an_file_write(path, data, n, &err), &err);
    an_free(path);
}

static void copy_as(const char *model, const char *name, const char *as)
{
    char from[512], *data;
    size_t n;
    snprintf(from, sizeof from, MODELS "%s/%s", model, name);
    read_whole(from, &data, &n);
    write_whole(as, data, n);
    an_free(data);
}

/* Every file of a model into the folder. */
static void add_model(const char *model)
{
    char from[512], **names;
    size_t n;
    snprintf(from, sizeof from, MODELS "%s", model);
    assert_ok(an_dir_list(from, &names, &n, &err), &err);
    for (size_t i = 0; i < n; i++)
        copy_as(model, names[i], names[i]);
    an_names_free(names);
}

static void start(const char *model)
{
    new_folder();
    add_model(model);
}

/* Replace every `from` in a file; both have the same length where the file is not text. */
static void edit(const char *name, const char *from, const char *to)
{
    char *path = in_folder(name), *data;
    size_t n, len = strlen(from), i = 0;
    bool found = false;
    an_str out = {0};
    read_whole(path, &data, &n);
    while (i < n) {
        bool here = n - i >= len && memcmp(data + i, from, len) == 0;
        found = found || here;
        if (here)
            an_str_append(&out, to);
        else
            an_str_append_char(&out, data[i]);
        i += here ? len : 1;
    }
    assert_true(found);
    write_whole(name, out.data, out.len);
    an_str_free(&out);
    an_free(data);
    an_free(path);
}

static void cut(const char *name, size_t bytes)
{
    char *path = in_folder(name), *data;
    size_t n;
    read_whole(path, &data, &n);
    assert_true(n > bytes);
    write_whole(name, data, n - bytes);
    an_free(data);
    an_free(path);
}

static void drop(const char *name)
{
    char *path = in_folder(name);
    assert_ok(an_path_remove(path, &err), &err);
    an_free(path);
}

/* Overwrite n bytes of a tensor's data in a safetensors file, `at` bytes from its begin. */
static void poke(const char *name, const char *tensor, size_t at, const void *bytes, size_t n)
{
    char *path = in_folder(name), *data;
    size_t size;
    an_safetensors *st;
    assert_ok(an_safetensors_open(&st, path, &err), &err);
    const an_st_tensor *t = an_safetensors_find(st, tensor);
    assert_non_null(t);
    size_t offset = (size_t)t->offset;
    an_safetensors_close(st);
    read_whole(path, &data, &size);
    assert_true(offset + at + n <= size);
    memcpy(data + offset + at, bytes, n);
    write_whole(name, data, size);
    an_free(data);
    an_free(path);
}

static void finish_fails(anemo_status status, const char *message)
{
    an_source *s;
    err.message[0] = '\0';
    assert_fails(an_source_open(&s, folder, &err), &err, status, message);
    remove_flat_dir(folder);
}

static an_source *open_folder(void)
{
    an_source *s;
    assert_ok(an_source_open(&s, folder, &err), &err);
    return s;
}

/* -------------------------------------------------------------------------------------------------------
 * damaged files */

static void test_cut_off(void **state)
{
    (void)state;
    start("native");
    cut("consolidated.safetensors", 100);
    finish_fails(ANEMO_ERR_FORMAT, "consolidated.safetensors");
    start("bin");
    cut("pytorch_model.bin", 1000);
    finish_fails(ANEMO_ERR_FORMAT, "pytorch_model.bin: damaged or incomplete archive");
    start("bin-legacy");
    cut("pytorch_model.bin", 10);
    finish_fails(ANEMO_ERR_FORMAT, "do not lie in the file");
    start("hf-sharded");
    drop("model-00002-of-00002.safetensors");
    finish_fails(ANEMO_ERR_NOTFOUND, "model-00002-of-00002.safetensors");
    start("bin-sharded");
    drop("pytorch_model.bin.index.json");
    drop("pytorch_model-00002-of-00002.bin");
    finish_fails(ANEMO_ERR_FORMAT, "parts 2 to 2 of pytorch_model-*.bin are missing");
    start("native-parallel");
    drop("consolidated.00.pth");
    finish_fails(ANEMO_ERR_FORMAT, "consolidated.00.pth is missing");
    start("native-parallel");
    drop("consolidated.01.pth");
    finish_fails(ANEMO_ERR_FORMAT, "has shape");
}

static void test_indexes(void **state)
{
    static const char *const NAMES[] = {"../other.bin", "/etc/other.bin", "a/b.bin",
                                        "..",           ".hidden.bin",    "weights.safetensors"};
    (void)state;
    for (size_t i = 0; i < AN_COUNT_OF(NAMES); i++) {
        start("bin-sharded");
        edit("pytorch_model.bin.index.json", "pytorch_model-00002-of-00002.bin", NAMES[i]);
        finish_fails(ANEMO_ERR_FORMAT, "is not the plain name of a .bin file");
    }
    start("bin-sharded");
    edit("pytorch_model.bin.index.json", "\"model.norm.weight\"", "\"model.other.weight\"");
    finish_fails(ANEMO_ERR_FORMAT,
                 "tensor model.other.weight is not in pytorch_model-00002-of-00002.bin");
    start("native-sharded");
    edit("consolidated.safetensors.index.json", "{", "[");
    finish_fails(ANEMO_ERR_FORMAT, "consolidated.safetensors.index.json: at byte 0");
    start("bin-sharded");
    drop("pytorch_model.bin.index.json");
    copy_as("bin-sharded", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin");
    finish_fails(ANEMO_ERR_FORMAT, "occurs twice (also in pytorch_model-00001-of-00002.bin)");
    /* What is left of another set is told and left out. */
    start("hf-sharded");
    copy_as("hf-bf16", "model.safetensors", "model.safetensors");
    an_source *s = open_folder();
    assert_non_null(strstr(s->notes, "model.safetensors is left out"));
    an_source_close(s);
    remove_flat_dir(folder);
}

static void test_contents(void **state)
{
    (void)state;
    start("bin");
    edit("config.json", "\"intermediate_size\": 64", "\"intermediate_size\": 96");
    finish_fails(
        ANEMO_ERR_FORMAT,
        "mlp.gate_proj.weight has shape [64, 32], the model's parameters ask for [96, 32]");
    start("bin");
    edit("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    finish_fails(ANEMO_ERR_FORMAT, "tensor model.layers.2.input_layernorm.weight is missing");
    start("native");
    edit("params.json", "\"n_layers\": 2", "\"n_layers\": 1");
    finish_fails(ANEMO_ERR_FORMAT, "belongs to a layer beyond the 1 ");
    start("hf-bf16");
    edit("config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    finish_fails(ANEMO_ERR_FORMAT, "belongs to a layer beyond the 1 ");
    start("native");
    edit("consolidated.safetensors", "\"tok_embeddings.weight\"", "\"tok_embeddingX.weight\"");
    finish_fails(ANEMO_ERR_FORMAT, "tensor tok_embeddings.weight is missing");
    start("native");
    edit("consolidated.safetensors", "\"output.weight\"", "\"outpuX.weight\"");
    finish_fails(ANEMO_ERR_FORMAT,
                 "tensor output.weight is missing and the model's parameters say");
    start("bin");
    drop("pytorch_model.bin");
    copy_as("native", "consolidated.safetensors", "pytorch_model.bin");
    finish_fails(ANEMO_ERR_FORMAT, "no tensor model.embed_tokens.weight");
    start("native");
    edit("consolidated.safetensors", "\"BF16\"", "\"I16\" ");
    finish_fails(ANEMO_ERR_UNSUPPORTED, "has type I16; weights must be F32, F16 or BF16");
    start("bin");
    edit("config.json", "\"model_type\": \"mistral\"", "\"model_type\": \"mixtral\"");
    finish_fails(ANEMO_ERR_UNSUPPORTED, "mixture of experts");
}

/* ----------------------------------------------------------------------------------------------------------------
 * FP8 */

static void test_fp8(void **state)
{
    static const char gate[] = "model.layers.0.mlp.gate_proj.weight",
                      down[] = "model.layers.0.mlp.down_proj.weight";
    const unsigned char nan = 0xFF;
    const uint16_t nan16 = 0x7FC0;
    const float inf = INFINITY;
    float *rows = malloc(160 * 160 * sizeof *rows);
    (void)state;
    assert_non_null(rows);

    start("fp8-tensor");
    poke("model.safetensors", gate, 3 * 32 + 5, &nan, 1);
    an_source *s = open_folder();
    const an_source_tensor *t = an_source_find(s, AN_FIELD_FFN_GATE, 0);
    assert_true(t->fp8);
    assert_null(t->w.data);
    assert_int_equal(t->float_dtype, AN_DTYPE_BF16);
    assert_ok(an_source_rows(s, t, 0, 3, rows, &err), &err);
    assert_fails(
        an_source_rows(s, t, 2, 2, rows, &err), &err, ANEMO_ERR_FORMAT,
        "tensor model.layers.0.mlp.gate_proj.weight: element [3, 5] is the FP8 code of NaN");
    assert_fails(an_source_check(s, t, &err), &err, ANEMO_ERR_FORMAT, "in row 3");
    an_source_close(s);
    remove_flat_dir(folder);

    start("fp8-block");
    poke("model.safetensors", "model.layers.0.mlp.down_proj.weight_scale_inv", 4, &inf, 4);
    s = open_folder();
    t = an_source_find(s, AN_FIELD_FFN_DOWN, 0);
    assert_string_equal(t->name, down);
    assert_fails(an_source_check(s, t, &err), &err, ANEMO_ERR_FORMAT, "in row 128");
    assert_null(json_object_get(s->config, "quantization_config"));
    an_source_close(s);
    remove_flat_dir(folder);

    start("native");
    poke("consolidated.safetensors", "layers.1.feed_forward.w2.weight", 2 * (9 * 64 + 1), &nan16,
         2);
    s = open_folder();
    assert_fails(an_source_check(s, an_source_find(s, AN_FIELD_FFN_DOWN, 1), &err), &err,
                 ANEMO_ERR_FORMAT,
                 "tensor layers.1.feed_forward.w2.weight holds a NaN or an infinity in row 9");
    an_source_close(s);
    remove_flat_dir(folder);
    free(rows);

    start("fp8-block");
    edit("model.safetensors", "down_proj.weight_scale_inv", "down_proj.weight_other_inv");
    finish_fails(ANEMO_ERR_FORMAT, "mlp.down_proj.weight is FP8 and has no scale");
    start("fp8-block");
    edit("config.json", "128", "64");
    finish_fails(ANEMO_ERR_FORMAT, "neither one scale nor one for each block of 64 x 64");
    start("fp8-tensor");
    edit("config.json", "\"quant_method\": \"fp8\"", "\"quant_method\": \"awq\"");
    finish_fails(ANEMO_ERR_UNSUPPORTED, "weights quantized by \"awq\"");
}

/* A model of MLX's in the folder, quantized as `type`, with an exception or without. */
static void start_mlx(const char *type, const char *exception)
{
    an_convert_options o = {.quantize = type, .overrides = &exception, .n_override = exception ? 1 : 0};
    an_convert_result made = {0};
    new_folder();
    assert_int_equal(rmdir(folder), 0);
    assert_ok(an_convert_to_mlx(MODELS "hf-f32", folder, &o, &made, &err), &err);
    an_convert_result_free(&made);
    drop("model.safetensors.index.json"); /* or it would tell first which tensors are missing */
}

static void test_fp_modes(void **state)
{
    static const char weights[] = "model.safetensors", gate[] = "model.layers.0.mlp.gate_proj.scales",
                      gate1[] = "model.layers.1.mlp.gate_proj.scales", no_gate[] = "model.layers.0.mlp.gate_proj.scalez";
    (void)state;
    start_mlx("mxfp4", NULL);
    edit(weights, gate, no_gate);
    finish_fails(ANEMO_ERR_FORMAT, "gate_proj.weight has type U32, as quantized weights have, but model.layers.0.mlp.gate_proj.scales "
                                   "is missing");
    start_mlx("4bit-g32", NULL);
    edit(weights, "model.layers.0.mlp.gate_proj.biases", "model.layers.0.mlp.gate_proj.biasez");
    finish_fails(ANEMO_ERR_FORMAT, "mlp.gate_proj has F32 scales but no biases");
    start_mlx("nvfp4", NULL);
    edit(weights, gate1, "model.layers.0.mlp.gate_proj.biases");
    finish_fails(ANEMO_ERR_FORMAT, "mlp.gate_proj has scales of type U8, as mxfp4, mxfp8 and nvfp4 have them, and biases");
    start_mlx("nvfp4", "layers.0.mlp.gate_proj=mxfp8");
    edit(weights, gate, no_gate);
    edit(weights, gate1, gate);
    finish_fails(ANEMO_ERR_FORMAT, "mlp.gate_proj of 8 words and 2 groups in a row of 32 values is neither mxfp4");
    start_mlx("mxfp4", NULL);
    edit(weights, "[64,1]", "[1,64]");
    finish_fails(ANEMO_ERR_FORMAT, "scales of model.layers.0.mlp.gate_proj must be [64, groups]");
    start_mlx("mxfp4", NULL);
    edit(weights, "[64,4]", "[4,64]");
    finish_fails(ANEMO_ERR_FORMAT, "gate_proj has shape [4, 64], the model's parameters ask for [64, 32]");
    start_mlx("mxfp8", NULL);
    edit("config.json", "mxfp8", "mxint8");
    finish_fails(ANEMO_ERR_UNSUPPORTED, "quantization mode \"mxint8\"");
}

/* Numbers that are not finite are told by the check, and copied by nobody. */
static void test_fp_mode_values(void **state)
{
    static const struct {
        const char *type, *tensor;
        unsigned char byte;
    } bad[] = {{"mxfp4", "scales", 0xFF}, {"mxfp4", "scales", 0xFE}, {"mxfp8", "scales", 0xFF},
               {"mxfp8", "weight", 0xFF}, {"nvfp4", "scales", 0x7F}, {"nvfp4", "scales", 0xFF}};
    (void)state;
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        char name[80], copy[80];
        bool codes = bad[i].tensor[0] == 'w';
        int per_row = codes ? 32 : bad[i].type[0] == 'n' ? 2 : 1;
        const an_convert_options o = {0};
        an_convert_result made = {0};
        start_mlx(bad[i].type, NULL);
        an_source *s = open_folder();
        const an_source_tensor *t = an_source_find(s, AN_FIELD_FFN_GATE, 0);
        assert_int_equal(s->kind, AN_SOURCE_MLX);
        assert_string_equal(an_dtype_get(t->w.dtype)->name, bad[i].type);
        assert_ok(an_source_check(s, t, &err), &err);
        an_source_close(s);
        snprintf(name, sizeof name, "model.layers.0.mlp.gate_proj.%s", bad[i].tensor);
        poke("model.safetensors", name, (size_t)(5 * per_row), &bad[i].byte, 1);
        s = open_folder();
        assert_fails(an_source_check(s, an_source_find(s, AN_FIELD_FFN_GATE, 0), &err), &err, ANEMO_ERR_FORMAT,
                     "in row 5;");
        an_source_close(s);
        snprintf(copy, sizeof copy, "%s-copy", folder);
        assert_fails(an_convert_to_mlx(folder, copy, &o, &made, &err), &err, ANEMO_ERR_FORMAT,
                     "gate_proj.weight: element 16");
        an_convert_result_free(&made);
        assert_int_equal(an_path_probe(copy), AN_PATH_ABSENT);
        remove_flat_dir(folder);
    }
}

/* ------------------------------------------------------------------------------------------------------
 * which set counts */

static void test_choice(void **state)
{
    (void)state;
    start("hf-bf16");
    add_model("native");
    an_source *s = open_folder();
    assert_int_equal(s->kind, AN_SOURCE_HF);
    assert_non_null(strstr(s->notes, "consolidated* too: the Hugging Face files are taken"));
    assert_string_equal(s->side[AN_SIDE_TEKKEN], "tekken.json");
    assert_string_equal(s->side[AN_SIDE_SPM], "tokenizer.model");
    assert_string_equal(s->side[AN_SIDE_GENERATION_CONFIG], "generation_config.json");
    assert_null(s->side[AN_SIDE_CHAT_TEMPLATE]);
    an_source_close(s);
    edit("config.json", "\"model_type\": \"mistral\"", "\"model_type\": \"mystery\"");
    s = open_folder();
    assert_int_equal(s->kind, AN_SOURCE_NATIVE);
    assert_non_null(strstr(s->notes, "config.json cannot be used"));
    assert_non_null(strstr(s->notes, "mystery"));
    an_source_close(s);
    remove_flat_dir(folder);

    start("bin");
    copy_as("hf-bf16", "model.safetensors", "model.safetensors");
    s = open_folder();
    assert_non_null(strstr(s->notes, "the safetensors are taken"));
    assert_non_null(s->model);
    an_source_close(s);
    remove_flat_dir(folder);

    /* A .bin that is safetensors by accident. */
    start("bin");
    copy_as("hf-bf16", "model.safetensors", "pytorch_model.bin");
    s = open_folder();
    assert_int_equal(s->kind, AN_SOURCE_HF);
    assert_null(s->model);
    assert_non_null(an_source_find(s, AN_FIELD_OUTPUT, 0)->w.data);
    an_source_close(s);
    remove_flat_dir(folder);

    /* The output of a tied model is the embedding's storage a second time. */
    start("bin-tied");
    s = open_folder();
    assert_true(s->params.hp.tied);
    assert_null(an_source_find(s, AN_FIELD_OUTPUT, 0));
    an_source_close(s);
    remove_flat_dir(folder);

    start("native-yarn");
    s = open_folder();
    assert_non_null(strstr(s->notes, "vision_encoder.ln_pre.weight"));
    assert_true(s->params.hp.tied);
    assert_int_equal(s->params.hp.rope_scaling, AN_ROPE_YARN);
    assert_true(s->params.hp.rope_attn_factor == 1);
    assert_true(s->params.hp.query_scale_beta == (double)0.1f);
    assert_string_equal(json_string_value(json_object_get(s->config, "model_type")), "mistral3");
    an_source_close(s);
    remove_flat_dir(folder);

    start("bin");
    drop("pytorch_model.bin");
    finish_fails(ANEMO_ERR_NOTFOUND, "holds no weights");
    start("native");
    drop("consolidated.safetensors");
    finish_fails(ANEMO_ERR_NOTFOUND, "holds params.json but no consolidated");
    new_folder();
    finish_fails(ANEMO_ERR_FORMAT, "a directory without config.json or params.json is not a model");
}

/* --------------------------------------------------------------------------------------------------------------
 * links */

static void link_in(const char *dir, const char *target, const char *name)
{
    char *path = an_path_join(dir, name);
    unlink(path);
    assert_int_equal(symlink(target, path), 0);
    an_free(path);
}

static void test_links(void **state)
{
    (void)state;
    start("native");
    link_in(folder, MODELS "native/consolidated.safetensors", "consolidated.safetensors");
    finish_fails(ANEMO_ERR_FORMAT, "consolidated.safetensors: is a link out of the model's folder");
    start("hf-bf16");
    link_in(folder, MODELS "hf-bf16/model.safetensors", "model.safetensors");
    finish_fails(ANEMO_ERR_FORMAT, "model.safetensors: is a link out of the model's folder");
    start("hf-bf16");
    copy_as("hf-bf16", "model.safetensors", "kept");
    link_in(folder, "kept", "model.safetensors");
    an_source_close(open_folder());
    link_in(folder, "absent", "model.safetensors");
    finish_fails(ANEMO_ERR_NOTFOUND, "no such file");

    /* The hub's cache: …/models--a--b/{blobs,refs,snapshots/REV}. */
    static const char *const FILES[] = {"config.json", "model.safetensors", "tokenizer.model",
                                        "tokenizer_config.json"};
    char root[64], repository[128], path[256];
    new_folder();
    strcpy(root, folder);
    snprintf(repository, sizeof repository, "%s/models--a--b", root);
    snprintf(path, sizeof path, "%s/blobs", repository);
    assert_ok(an_dir_make(path, &err), &err);
    snprintf(path, sizeof path, "%s/refs", repository);
    assert_ok(an_dir_make(path, &err), &err);
    snprintf(path, sizeof path, "%s/snapshots/1234", repository);
    assert_ok(an_dir_make(path, &err), &err);
    for (size_t i = 0; i < AN_COUNT_OF(FILES); i++) {
        char blob[64], to[128];
        snprintf(folder, sizeof folder, "%.40s/models--a--b", root);
        snprintf(blob, sizeof blob, "blobs/%zu", i);
        copy_as("hf-bf16", FILES[i], blob);
        snprintf(to, sizeof to, "../../%s", blob);
        link_in(path, to, FILES[i]);
    }
    an_source *s;
    assert_ok(an_source_open(&s, path, &err), &err);
    an_source_close(s);
    copy_as("hf-bf16", "model.safetensors", "refs/main");
    link_in(path, "../../refs/main", "model.safetensors");
    assert_fails(an_source_open(&s, path, &err), &err, ANEMO_ERR_FORMAT,
                 "is a link out of the model's folder");
    remove_flat_dir(path);
    snprintf(path, sizeof path, "%s/snapshots", repository);
    remove_flat_dir(path);
    snprintf(path, sizeof path, "%s/blobs", repository);
    remove_flat_dir(path);
    snprintf(path, sizeof path, "%s/refs", repository);
    remove_flat_dir(path);
    remove_flat_dir(repository);
    remove_flat_dir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_off),  cmocka_unit_test(test_indexes),
        cmocka_unit_test(test_contents), cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_choice),   cmocka_unit_test(test_links),
        cmocka_unit_test(test_fp_modes), cmocka_unit_test(test_fp_mode_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

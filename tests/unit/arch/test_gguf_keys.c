/* Hyperparameters from GGUF metadata: one key of a good file set to another value or type, and what comes of it. */
#include "support/gguf_build.h"
#include "support/test.h"

#include "arch/hparams.h"
#include "base/num.h"

#include <stdlib.h>

static an_arch_params params;

/* Values: U32, I32, F32 and STR take one; U32S, I32S, F32S and STRS take a list of two, the layers of the model. */
typedef enum value_kind { NONE, U32, I32, F32, STR, I32S, F32S, STRS } value_kind;

typedef struct change {
    const char *key; /* without "llama.", or whole when it has "general." or "tokenizer." in front */
    value_kind kind;
    double a, b;
    const char *text; /* of STR */
} change;

static void put(gguf_build *b, const char *key, const change *c)
{
    const int32_t ints[2] = {(int32_t)c->a, (int32_t)c->b};
    const float reals[2] = {(float)c->a, (float)c->b};
    const char *const words[2] = {"x", "y"};
    switch (c->kind) {
    case NONE: break;
    case U32: gguf_build_u32(b, key, (uint32_t)c->a); break;
    case I32: gguf_build_i32(b, key, (int32_t)c->a); break;
    case F32: gguf_build_f32(b, key, (float)c->a); break;
    case STR: gguf_build_str(b, key, c->text); break;
    case I32S: gguf_build_i32s(b, key, ints, c->b < 0 && c->a < 0 ? 0 : 2); break;
    case F32S: gguf_build_f32s(b, key, reals, 2); break;
    case STRS: gguf_build_strs(b, key, words, 2); break;
    }
}

/* A good model's keys with those of `changes` put in their place, or added. */
static anemo_status read_changed(const change *changes, size_t n, anemo_error *err)
{
    static const change good[] = {
        {"general.architecture", STR, 0, 0, "llama"},
        {"block_count", U32, 2, 0, NULL},
        {"context_length", U32, 128, 0, NULL},
        {"embedding_length", U32, 64, 0, NULL},
        {"feed_forward_length", U32, 96, 0, NULL},
        {"attention.head_count", U32, 4, 0, NULL},
        {"attention.head_count_kv", U32, 2, 0, NULL},
        {"attention.layer_norm_rms_epsilon", F32, 1e-5, 0, NULL},
        {"vocab_size", U32, 32, 0, NULL},
    };
    gguf_build b;
    an_gguf *g;
    gguf_build_init(&b);
    for (size_t i = 0; i < AN_COUNT_OF(good) + n; i++) {
        const change *c = i < AN_COUNT_OF(good) ? &good[i] : &changes[i - AN_COUNT_OF(good)];
        bool replaced = false;
        char key[128];
        for (size_t k = 0; i < AN_COUNT_OF(good) && k < n; k++) replaced |= !strcmp(changes[k].key, c->key);
        bool whole = !strncmp(c->key, "general.", 8) || !strncmp(c->key, "tokenizer.", 10);
        snprintf(key, sizeof key, "%s%s", whole ? "" : "llama.", c->key);
        if (!replaced) put(&b, key, c);
    }
    test_buf file = gguf_build_finish(&b);
    assert_ok(an_gguf_open_bytes(&g, file.data, file.n, "x.gguf", err), err);
    anemo_status status = an_hparams_from_gguf(g, &params, err);
    an_gguf_close(g);
    free(file.data);
    return status;
}

static void refused_keys(void **state)
{
    (void)state;
    static const struct {
        change c;
        const char *text;
    } cases[] = {
        {{"general.architecture", NONE, 0, 0, NULL}, "general.architecture"},
        {{"general.architecture", U32, 1, 0, NULL}, "general.architecture"},
        {{"general.architecture", STR, 0, 0, "bert"}, "bert"},
        {{"general.architecture", STR, 0, 0, "deepseek2"}, "deepseek2"},
        {{"block_count", NONE, 0, 0, NULL}, "block_count"},
        {{"block_count", STR, 0, 0, "2"}, "block_count"},
        {{"block_count", U32, 0, 0, NULL}, "number of layers"},
        {{"block_count", U32, 513, 0, NULL}, "513 layers"},
        {{"block_count", I32, -1, 0, NULL}, "block_count"},
        {{"context_length", U32, 0, 0, NULL}, "context length"},
        {{"embedding_length", U32, 16, 0, NULL}, "embedding length"},
        {{"embedding_length", U32, 72, 0, NULL}, "multiples of 32"},
        {{"feed_forward_length", U32, 97, 0, NULL}, "multiples of 32"},
        {{"feed_forward_length", I32S, 96, 128, NULL}, "differs between layers"},
        {{"feed_forward_length", F32S, 96, 96, NULL}, "must be an integer or an array of them"},
        {{"feed_forward_length", STRS, 0, 0, NULL}, "must be an integer or an array of them"},
        {{"feed_forward_length", I32S, -1, -1, NULL}, "must be an integer or an array of them"},
        {{"feed_forward_length", I32S, -5, -5, NULL}, "must be an integer or an array of them"},
        {{"attention.head_count", U32, 0, 0, NULL}, "at least one head"},
        {{"attention.head_count", U32, 2048, 0, NULL}, "number of heads"},
        {{"attention.head_count_kv", U32, 3, 0, NULL}, "cannot share"},
        {{"attention.head_count_kv", U32, 8, 0, NULL}, "key-value heads"},
        {{"attention.key_length", U32, 15, 0, NULL}, "odd"},
        {{"attention.value_length", U32, 8, 0, NULL}, "values of 8"},
        {{"attention.layer_norm_rms_epsilon", NONE, 0, 0, NULL}, "layer_norm_rms_epsilon"},
        {{"attention.layer_norm_rms_epsilon", F32, 2, 0, NULL}, "norm epsilon"},
        {{"attention.layer_norm_rms_epsilon", STR, 0, 0, "x"}, "layer_norm_rms_epsilon"},
        {{"attention.scale", F32, 1e9, 0, NULL}, "attention scale"},
        {{"attention.sliding_window", I32S, 8, -1, NULL}, "out of range"},
        {{"attention.sliding_window", F32S, 8, 8, NULL}, "one integer or one per layer"},
        {{"attention.sliding_window", STR, 0, 0, "8"}, "sliding_window"},
        {{"attention.temperature_scale", F32, 1000, 0, NULL}, "query scale beta"},
        {{"expert_count", U32, 8, 0, NULL}, "mixture of experts"},
        {{"expert_count", STR, 0, 0, "8"}, "expert_count"},
        {{"rope.dimension_count", U32, 8, 0, NULL}, "only 8 of 16"},
        {{"rope.freq_base", F32, 0.5, 0, NULL}, "rope theta"},
        {{"rope.scaling.factor", F32, -2, 0, NULL}, "rope scaling factor"},
        {{"rope.scaling.type", STR, 0, 0, "longrope"}, "\"longrope\" is not run"},
        {{"rope.scaling.type", U32, 1, 0, NULL}, "rope.scaling.type"},
        {{"rope.scaling.original_context_length", I32, 0, 0, NULL}, "original context length"},
        {{"tokenizer.ggml.eos_token_id", STR, 0, 0, "2"}, "eos_token_id"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        anemo_error err = {0};
        anemo_status status = read_changed(&cases[i].c, 1, &err);
        if (anemo_status_exit_code(status) != 3 || !strstr(err.message, cases[i].text))
            fail_msg("%s, case %zu: %s, '%s' lacks '%s'", cases[i].c.key, i, anemo_status_name(status), err.message,
                     cases[i].text);
    }
}

static void yarn(void **state)
{
    (void)state;
    static const change type = {"rope.scaling.type", STR, 0, 0, "yarn"}, factor = {"rope.scaling.factor", F32, 4, 0, NULL};
    static const struct {
        change c;
        const char *text; /* NULL: accepted */
        an_rope_scaling scaling;
    } cases[] = {
        {{"rope.scaling.yarn_ext_factor", F32, 0, 0, NULL}, NULL, AN_ROPE_LINEAR},
        {{"rope.scaling.yarn_ext_factor", F32, 1, 0, NULL}, NULL, AN_ROPE_YARN},
        {{"rope.scaling.yarn_ext_factor", F32, -1, 0, NULL}, NULL, AN_ROPE_YARN},
        {{"rope.scaling.yarn_ext_factor", F32, 0.5, 0, NULL}, "runs 0 and 1", AN_ROPE_NONE},
        {{"rope.scaling.yarn_ext_factor", STR, 0, 0, "1"}, "yarn_ext_factor", AN_ROPE_NONE},
        {{"rope.scaling.yarn_log_multiplier", F32, 1, 0, NULL}, NULL, AN_ROPE_YARN},
        {{"rope.scaling.yarn_log_multiplier", STR, 0, 0, ""}, "yarn_log_multiplier", AN_ROPE_NONE},
        {{"rope.scaling.attn_factor", STR, 0, 0, ""}, "attn_factor", AN_ROPE_NONE},
        {{"rope.scaling.attn_factor", F32, 1e9, 0, NULL}, "rope attention factor", AN_ROPE_NONE},
        {{"rope.scaling.yarn_attn_factor", STR, 0, 0, ""}, "yarn_attn_factor", AN_ROPE_NONE},
        {{"rope.scaling.yarn_beta_fast", F32, -1, 0, NULL}, "beta_fast", AN_ROPE_NONE},
        {{"rope.scaling.yarn_beta_fast", STR, 0, 0, ""}, "yarn_beta_fast", AN_ROPE_NONE},
        {{"rope.scaling.yarn_beta_slow", F32, -1, 0, NULL}, "beta_slow", AN_ROPE_NONE},
        {{"rope.scaling.yarn_beta_slow", STR, 0, 0, ""}, "yarn_beta_slow", AN_ROPE_NONE},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        anemo_error err = {0};
        const change all[3] = {type, factor, cases[i].c};
        anemo_status status = read_changed(all, 3, &err);
        if (cases[i].text ? anemo_status_exit_code(status) != 3 || !strstr(err.message, cases[i].text) : status != ANEMO_OK)
            fail_msg("case %zu: %s, '%s'", i, anemo_status_name(status), err.message);
        if (!cases[i].text) assert_int_equal(params.hp.rope_scaling, cases[i].scaling);
    }
}

/* Every key that is read, with a value of another type: the message names it. */
static void wrong_types(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "expert_count", "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
        "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
        "attention.scale", "attention.sliding_window", "attention.temperature_scale", "attention.temperature_length",
        "rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.factor",
        "rope.scaling.original_context_length", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
    };
    for (size_t i = 0; i < AN_COUNT_OF(keys); i++) {
        anemo_error err = {0};
        const change c = {keys[i], STR, 0, 0, "8"};
        assert_fails(read_changed(&c, 1, &err), &err, ANEMO_ERR_FORMAT, keys[i]);
    }
    anemo_error err = {0};
    const change type = {"general.type", U32, 1, 0, NULL}, adapter = {"general.type", STR, 0, 0, "adapter"};
    assert_fails(read_changed(&type, 1, &err), &err, ANEMO_ERR_FORMAT, "general.type");
    assert_fails(read_changed(&adapter, 1, &err), &err, ANEMO_ERR_UNSUPPORTED, "adapter");
}

/* What is unusual and right. */
static void accepted_keys(void **state)
{
    (void)state;
    anemo_error err;
    static const change lists[] = {{"feed_forward_length", I32S, 96, 96, NULL},
                                   {"attention.head_count", I32S, 4, 4, NULL},
                                   {"attention.sliding_window", I32S, 0, 8, NULL}};
    assert_ok(read_changed(lists, 3, &err), &err);
    assert_int_equal(params.hp.n_ff, 96);
    assert_int_equal(params.window[0], 0);
    assert_int_equal(params.window[1], 8);
    static const change none[] = {{"rope.scaling.type", STR, 0, 0, "none"}, {"rope.scaling.factor", F32, 4, 0, NULL}};
    assert_ok(read_changed(none, 2, &err), &err);
    assert_true(params.hp.rope_factor == 1);
    static const change linear[] = {{"rope.scale_linear", F32, 4, 0, NULL}};
    assert_ok(read_changed(linear, 1, &err), &err);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_LINEAR);
    static const change zero[] = {{"rope.scaling.factor", F32, 0, 0, NULL}, {"attention.scale", F32, 0.25, 0, NULL}};
    assert_ok(read_changed(zero, 2, &err), &err);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_NONE);
    assert_true(params.hp.attn_scale == 0.25);
    static const change ends[] = {{"tokenizer.ggml.eos_token_id", U32, 2, 0, NULL},
                                  {"tokenizer.ggml.eot_token_id", U32, 2, 0, NULL},
                                  {"tokenizer.ggml.eom_token_id", U32, 4294967295.0, 0, NULL}};
    assert_ok(read_changed(ends, 3, &err), &err);
    assert_int_equal(params.n_eos, 1);
    assert_int_equal(params.eos_ids[0], 2);
    static const change beta[] = {{"attention.temperature_scale", F32, 0.1, 0, NULL},
                                  {"attention.temperature_length", U32, 64, 0, NULL}};
    assert_ok(read_changed(beta, 2, &err), &err);
    assert_int_equal(params.hp.query_scale_n_ctx, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_keys),
        cmocka_unit_test(yarn),
        cmocka_unit_test(wrong_types),
        cmocka_unit_test(accepted_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

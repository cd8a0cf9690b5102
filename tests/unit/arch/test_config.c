/* config.json to hyperparameters: the values of published configurations, and what is refused by name. */
#include "support/test.h"

#include "arch/hparams.h"

#include <math.h>
#include <stdlib.h>

#define CORE                                                                                       \
    "\"num_hidden_layers\":4,\"hidden_size\":64,\"intermediate_size\":96,"                         \
    "\"num_attention_heads\":4,\"vocab_size\":100,\"max_position_embeddings\":128"

static an_arch_params params;
static anemo_error err;

static anemo_status parse(const char *text)
{
    memset(&params, 0xA5, sizeof params);
    return an_hparams_from_config(text, strlen(text), "config.json", &params, &err);
}

/* Derived from the formulas in transformers' configuration classes. */
static void test_defaults(void **state)
{
    (void)state;
    assert_ok(parse("{\"model_type\":\"llama\"," CORE "}"), &err);
    assert_int_equal(params.hp.n_head_kv, 4);
    assert_int_equal(params.hp.head_dim, 16);
    assert_true(params.hp.rope_theta == 10000);
    assert_true(params.hp.norm_eps == (double)1e-6f);
    assert_int_equal(params.hp.rope_rows, AN_ROPE_HALF_SPLIT);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_NONE);
    assert_int_equal(params.window[0], 0);
    assert_false(params.tie_known);
    assert_string_equal(params.arch, "llama");
    /* MistralConfig has a window of 4096 unless the file says null. */
    assert_ok(parse("{\"model_type\":\"mistral\"," CORE "}"), &err);
    assert_int_equal(params.window[3], 4096);
    assert_ok(parse("{\"model_type\":\"mistral\",\"sliding_window\":null," CORE "}"), &err);
    assert_int_equal(params.window[3], 0);
    /* Nemo's head size is not embedding / heads. */
    assert_ok(parse("{\"model_type\":\"mistral\",\"head_dim\":24," CORE "}"), &err);
    assert_int_equal(params.hp.head_dim, 24);
}

static void test_rope_places(void **state)
{
    (void)state;
    assert_ok(parse("{\"model_type\":\"llama\",\"rope_theta\":1e6,\"rope_scaling\":{\"type\":\"linear\","
                    "\"factor\":4}," CORE "}"),
              &err);
    assert_true(params.hp.rope_theta == 1e6 && params.hp.rope_factor == 4);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_LINEAR);
    assert_ok(parse("{\"model_type\":\"llama\",\"rope_theta\":5,\"rope_parameters\":{\"rope_type\":\"dynamic\","
                    "\"rope_theta\":5e5,\"factor\":2.5}," CORE "}"),
              &err);
    assert_true(params.hp.rope_theta == 5e5 && params.hp.rope_factor == 2.5);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_DYNAMIC);
    assert_int_equal(params.hp.rope_n_ctx_orig, 128);
    assert_ok(parse("{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
                    "\"low_freq_factor\":1,\"high_freq_factor\":4,\"original_max_position_embeddings\":64}," CORE "}"),
              &err);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_LLAMA3);
    assert_int_equal(params.hp.rope_n_ctx_orig, 64);
    assert_ok(parse("{\"model_type\":\"llama\",\"rope_scaling\":null," CORE "}"), &err);
    assert_int_equal(params.hp.rope_scaling, AN_ROPE_NONE);
}

#define YARN(extra)                                                                                \
    "{\"model_type\":\"ministral3\",\"rope_parameters\":{\"type\":\"yarn\",\"rope_theta\":1e6,"    \
    "\"factor\":64,\"original_max_position_embeddings\":32" extra "}," CORE "}"

/* A = 1 with both mscales 1; 1.41589 for factor 64 with mscale_all_dim 0 (formats.md 6.5). */
static void test_yarn_factor(void **state)
{
    (void)state;
    assert_ok(parse(YARN(",\"mscale\":1,\"mscale_all_dim\":1,\"llama_4_scaling_beta\":0.1")), &err);
    assert_true(params.hp.rope_attn_factor == 1);
    assert_true(params.hp.query_scale_beta == (double)0.1f);
    assert_int_equal(params.hp.query_scale_n_ctx, 32);
    assert_ok(parse(YARN(",\"mscale\":1,\"mscale_all_dim\":0")), &err);
    assert_true(fabs(params.hp.rope_attn_factor - 1.41589) < 1e-5);
    assert_true(params.hp.query_scale_beta == 0);
    assert_ok(parse(YARN(",\"attention_factor\":1.25,\"truncate\":false,\"beta_fast\":4")), &err);
    assert_true(params.hp.rope_attn_factor == 1.25);
    assert_false(params.hp.yarn_truncate);
    assert_true(params.hp.yarn_beta_fast == 4 && params.hp.yarn_beta_slow == 1);
    /* ministral3's heads are 128 wide unless the file says otherwise. */
    assert_int_equal(params.hp.head_dim, 128);
}

static void test_windows(void **state)
{
    (void)state;
    assert_ok(parse("{\"model_type\":\"mistral\",\"sliding_window\":8,\"layer_types\":[\"full_attention\","
                    "\"sliding_attention\",\"sliding_attention\",\"full_attention\"]," CORE "}"),
              &err);
    assert_int_equal(params.window[0], 0);
    assert_int_equal(params.window[1], 8);
    assert_int_equal(params.window[3], 0);
    assert_ok(parse("{\"model_type\":\"mistral\",\"sliding_window\":[null,8]," CORE "}"), &err);
    assert_int_equal(params.window[2], 0);
    assert_int_equal(params.window[3], 8);
    /* llama has windows only by layer type. */
    assert_ok(parse("{\"model_type\":\"llama\",\"sliding_window\":8," CORE "}"), &err);
    assert_int_equal(params.window[0], 0);
    assert_fails(parse("{\"model_type\":\"mistral\",\"sliding_window\":\"8\"," CORE "}"), &err,
                 ANEMO_ERR_FORMAT, "sliding_window");
    assert_fails(parse("{\"model_type\":\"mistral\",\"layer_types\":[\"full_attention\"]," CORE "}"), &err,
                 ANEMO_ERR_FORMAT, "layer_types");
}

static void test_wrapper(void **state)
{
    (void)state;
    assert_ok(parse("{\"model_type\":\"mistral3\",\"tie_word_embeddings\":true,\"eos_token_id\":[7,9],"
                    "\"text_config\":{\"model_type\":\"mistral\",\"sliding_window\":null,"
                    "\"tie_word_embeddings\":false," CORE "}}"),
              &err);
    assert_string_equal(params.arch, "mistral3");
    assert_true(params.tie_known && !params.tie); /* the text part's own word counts */
    assert_int_equal(params.n_eos, 2);
    assert_int_equal(params.eos_ids[1], 9);
    assert_fails(parse("{\"model_type\":\"mistral3\"}"), &err, ANEMO_ERR_FORMAT, "text_config");
    assert_fails(parse("{\"model_type\":\"mistral3\",\"text_config\":{\"model_type\":\"mistral4\"," CORE "}}"),
                 &err, ANEMO_ERR_UNSUPPORTED, "MLA");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        anemo_status status;
        const char *message;
    } CASES[] = {
        {"{\"model_type\":\"mixtral\"," CORE "}", ANEMO_ERR_UNSUPPORTED, "mixture of experts"},
        {"{\"model_type\":\"qwen9\"," CORE "}", ANEMO_ERR_UNSUPPORTED, "qwen9"},
        {"{\"model_type\":\"llama\",\"num_local_experts\":8," CORE "}", ANEMO_ERR_UNSUPPORTED, "experts"},
        {"{\"model_type\":\"mistral\",\"kv_lora_rank\":8," CORE "}", ANEMO_ERR_UNSUPPORTED, "MLA"},
        {"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"," CORE "}", ANEMO_ERR_UNSUPPORTED, "gelu"},
        {"{\"model_type\":\"llama\",\"mlp_bias\":true," CORE "}", ANEMO_ERR_UNSUPPORTED, "bias"},
        {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"fp8\"}," CORE "}",
         ANEMO_ERR_UNSUPPORTED, "fp8"},
        {"{\"model_type\":\"llama\",\"quantization\":{\"mode\":\"mxint4\"}," CORE "}", ANEMO_ERR_UNSUPPORTED,
         "mxint4"},
        {"{\"model_type\":\"llama\",\"quantization\":{\"bits\":4,\"model.layers.0.mlp.up_proj\":"
         "{\"mode\":\"nvint4\"}}," CORE "}",
         ANEMO_ERR_UNSUPPORTED, "nvint4"},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"longrope\"}," CORE "}", ANEMO_ERR_UNSUPPORTED,
         "longrope"},
        {"{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5," CORE "}", ANEMO_ERR_UNSUPPORTED, "rotated"},
        {"{\"model_type\":\"llama\",\"num_key_value_heads\":3," CORE "}", ANEMO_ERR_FORMAT, "evenly"},
        {"{\"model_type\":\"llama\",\"head_dim\":15," CORE "}", ANEMO_ERR_FORMAT, "odd"},
        {"{\"model_type\":\"llama\",\"rms_norm_eps\":-1," CORE "}", ANEMO_ERR_FORMAT, "epsilon"},
        {"{\"model_type\":\"llama\",\"rope_theta\":0," CORE "}", ANEMO_ERR_FORMAT, "theta"},
        {"{\"model_type\":\"llama\",\"eos_token_id\":\"x\"," CORE "}", ANEMO_ERR_FORMAT, "eos_token_id"},
        {"{\"model_type\":\"llama\",\"hidden_size\":64}", ANEMO_ERR_FORMAT, "num_hidden_layers"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":100000,\"hidden_size\":64,\"intermediate_size\":96,"
         "\"num_attention_heads\":4,\"vocab_size\":100}",
         ANEMO_ERR_FORMAT, "layers"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":4,\"hidden_size\":64,\"intermediate_size\":96,"
         "\"num_attention_heads\":0,\"vocab_size\":100}",
         ANEMO_ERR_FORMAT, "heads"},
        {"{\"model_type\":3}", ANEMO_ERR_FORMAT, "model_type"},
        {"{}", ANEMO_ERR_FORMAT, "model_type"},
        {"[]", ANEMO_ERR_FORMAT, "object"},
        {"{", ANEMO_ERR_FORMAT, "JSON"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++)
        assert_fails(parse(CASES[i].text), &err, CASES[i].status, CASES[i].message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_rope_places), cmocka_unit_test(test_yarn_factor),
        cmocka_unit_test(test_windows),  cmocka_unit_test(test_wrapper),     cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

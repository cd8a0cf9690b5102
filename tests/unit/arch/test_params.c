/*
 * params.json of Mistral's own layout: every rule of the mapping to the Hugging Face configuration,
 * the defaults that depend on other values, and what is refused by name.
 */
#include "support/test.h"

#include "arch/hparams.h"

#include <stdlib.h>

#define SIZES                                                                                      \
    "\"dim\":64,\"n_layers\":4,\"head_dim\":16,\"hidden_dim\":96,\"n_heads\":4,\"n_kv_heads\":2,"  \
    "\"norm_eps\":1e-5,\"vocab_size\":300"
#define WHOLE SIZES ",\"rope_theta\":1000000.0,\"max_position_embeddings\":4096"

static char note[300];

static anemo_status convert(const char *params, const char *beside, json_t **config,
                            anemo_error *err)
{
    json_t *p = NULL, *b = NULL;
    assert_ok(an_json_parse_flags(&p, params, strlen(params), JSON_DECODE_ANY, "test", err), err);
    if (beside) assert_ok(an_json_parse(&b, beside, strlen(beside), "beside", err), err);
    anemo_status status =
        an_hparams_native_config(p, b, "params.json", config, note, sizeof note, err);
    json_decref(p);
    json_decref(b);
    return status;
}

/* The configuration of params.json, equal to `want` as JSON. */
static void assert_config(const char *params, const char *want)
{
    anemo_error err;
    json_t *got, *expected;
    assert_ok(convert(params, NULL, &got, &err), &err);
    assert_ok(an_json_parse(&expected, want, strlen(want), "want", &err), &err);
    if (!json_equal(got, expected)) {
        char *text = json_dumps(got, JSON_SORT_KEYS);
        fail_msg("%s gives\n%s, expected\n%s", params, text, want);
    }
    json_decref(got);
    json_decref(expected);
}

#define TEXT                                                                                       \
    "\"hidden_act\":\"silu\",\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":"  \
    "4,"                                                                                           \
    "\"num_key_value_heads\":2,\"head_dim\":16,\"intermediate_size\":96,\"vocab_size\":300,\"rms_" \
    "norm_eps\":1e-5,"                                                                             \
    "\"max_position_embeddings\":4096,"
#define IDS "\"bos_token_id\":1,\"eos_token_id\":2,"
#define YARN_OF(mscale_all_dim, beta)                                                              \
    "\"rope_parameters\":{\"rope_type\":\"yarn\",\"type\":\"yarn\",\"rope_theta\":1000000.0,"      \
    "\"factor\":16.0,"                                                                             \
    "\"original_max_position_embeddings\":256,\"beta_fast\":32.0,\"beta_slow\":1.0,\"mscale\":1."  \
    "0,"                                                                                           \
    "\"mscale_all_dim\":" mscale_all_dim ",\"llama_4_scaling_beta\":" beta "}"

static void test_mapping(void **state)
{
    (void)state;
    assert_config(
        "{" WHOLE "}",
        "{\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\"," TEXT IDS
        "\"sliding_window\":null,\"rope_theta\":1000000.0,\"tie_word_embeddings\":false}");
    assert_string_equal(note, "");
    assert_config("{" WHOLE ",\"tied_embeddings\":true,\"sliding_window\":\"1024\",\"activation\":"
                            "\"silu\",\"moe\":null}",
                  "{\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\"," TEXT IDS
                  "\"sliding_window\":1024,\"rope_theta\":1000000.0,\"tie_word_embeddings\":true}");
    assert_config("{" WHOLE ",\"_sliding_window\":[null,512,512]}",
                  "{\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\"," TEXT IDS
                  "\"sliding_window\":512,\"layer_types\":[\"full_attention\",\"sliding_"
                  "attention\",\"sliding_attention\","
                  "\"full_attention\"],\"rope_theta\":1000000.0,\"tie_word_embeddings\":false}");
    assert_config(
        "{" WHOLE ",\"yarn\":{\"factor\":16,\"original_max_position_embeddings\":256}}",
        "{\"architectures\":[\"Ministral3ForCausalLM\"],\"model_type\":\"ministral3\"," TEXT IDS
        "\"sliding_window\":null," YARN_OF("0.0", "0.0") ",\"tie_word_embeddings\":false}");
    assert_config(
        "{" WHOLE
        ",\"yarn\":{\"factor\":16,\"original_max_position_embeddings\":256,\"beta\":32,\"alpha\":1,"
        "\"apply_scale\":false},\"llama_4_scaling\":{\"original_max_position_embeddings\":256,"
        "\"beta\":0.25},"
        "\"vision_encoder\":{\"dim\":8}}",
        "{\"architectures\":[\"Mistral3ForConditionalGeneration\"],\"model_type\":\"mistral3\"," IDS
        "\"tie_word_embeddings\":false,\"text_config\":{\"model_type\":\"ministral3\"," TEXT
        "\"sliding_window\":null," YARN_OF("1.0", "0.25") ",\"tie_word_embeddings\":false}}");
}

static double theta_of(const char *params, const char *beside, const char *said)
{
    anemo_error err;
    json_t *config;
    assert_ok(convert(params, beside, &config, &err), &err);
    double theta = json_number_value(json_object_get(config, "rope_theta"));
    if (!strstr(note, said)) fail_msg("%s: note '%s' lacks '%s'", params, note, said);
    json_decref(config);
    return theta;
}

static int64_t context_of(const char *params, const char *beside)
{
    anemo_error err;
    json_t *config;
    assert_ok(convert(params, beside, &config, &err), &err);
    int64_t n = json_integer_value(json_object_get(config, "max_position_embeddings"));
    json_decref(config);
    return n;
}

#define V0_1                                                                                       \
    "{\"dim\":64,\"n_layers\":1,\"hidden_dim\":96,\"n_heads\":4,\"norm_eps\":1e-5,\"vocab_size\":" \
    "32000"

static void test_defaults(void **state)
{
    (void)state;
    assert_true(theta_of("{" SIZES "}", NULL, "1000000 is taken, which may be wrong") == 1e6);
    assert_true(theta_of("{" SIZES ",\"sliding_window\":32}", NULL, "10000 is taken") == 1e4);
    assert_true(theta_of(V0_1 "}", NULL, "10000 is taken") == 1e4);
    assert_true(theta_of("{" SIZES "}", "{\"rope_theta\":5e5}", "that of config.json") == 5e5);
    assert_true(theta_of("{" SIZES "}",
                         "{\"text_config\":{\"rope_parameters\":{\"rope_theta\":7e5}}}",
                         "config.json") == 7e5);
    assert_int_equal(context_of("{" SIZES "}", NULL), 32768);
    assert_non_null(strstr(note, "32768 is taken"));
    assert_int_equal(context_of("{" SIZES "}", "{\"max_position_embeddings\":512}"), 512);
    assert_int_equal(context_of("{" SIZES ",\"max_seq_len\":256}", NULL), 256);
    assert_int_equal(
        context_of("{" SIZES ",\"max_seq_len\":256,\"max_position_embeddings\":128}", NULL), 128);
    /* Heads: as many for keys as for queries, of dim / n_heads values. */
    anemo_error err;
    json_t *config;
    assert_ok(convert(V0_1 "}", NULL, &config, &err), &err);
    assert_int_equal(json_integer_value(json_object_get(config, "num_key_value_heads")), 4);
    assert_int_equal(json_integer_value(json_object_get(config, "head_dim")), 16);
    json_decref(config);
}

/* What says nothing changes nothing: nulls, a vision encoder inside "multimodal", FP8 and LoRA
 * sections. */
static void test_neutral(void **state)
{
    (void)state;
    assert_config(
        "{" WHOLE ",\"vision_encoder\":null,\"yarn\":null,\"sliding_window\":[null,null],"
                  "\"quantization\":{},\"lora\":{},"
        "\"multimodal\":{\"max_images\":4},\"llama_4_scaling\":null}",
        "{\"architectures\":[\"MistralForCausalLM\"],\"model_type\":\"mistral\"," TEXT IDS
        "\"sliding_window\":null,\"rope_theta\":1000000.0,\"tie_word_embeddings\":false}");
    assert_config(
        "{" WHOLE ",\"multimodal\":{\"vision_encoder\":{}}}",
        "{\"architectures\":[\"Mistral3ForConditionalGeneration\"],\"model_type\":\"mistral3\"," IDS
        "\"tie_word_embeddings\":false,\"text_config\":{\"model_type\":\"mistral\"," TEXT
        "\"sliding_window\":null,\"rope_theta\":1000000.0,\"tie_word_embeddings\":false}}");
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *params;
        anemo_status status;
        const char *message;
    } CASES[] = {
        {"[]", ANEMO_ERR_FORMAT, "must be a JSON object"},
        {"{}", ANEMO_ERR_FORMAT, "\"dim\" is missing"},
        {"{" WHOLE ",\"moe\":{\"num_experts\":8}}", ANEMO_ERR_UNSUPPORTED,
         "\"moe\" says that this model is a mixture of experts"},
        {"{" WHOLE ",\"kv_lora_rank\":512}", ANEMO_ERR_UNSUPPORTED, "multi-head latent attention"},
        {"{" WHOLE ",\"model_type\":\"mamba\"}", ANEMO_ERR_UNSUPPORTED, "model type \"mamba\""},
        {"{" WHOLE ",\"activation\":\"gelu\"}", ANEMO_ERR_UNSUPPORTED, "activation \"gelu\""},
        {"{" WHOLE ",\"audio_encoder\":{}}", ANEMO_ERR_UNSUPPORTED, "\"audio_encoder\" is a part"},
        {"{" WHOLE ",\"multimodal\":{\"whisper_model_args\":{}}}", ANEMO_ERR_UNSUPPORTED,
         "holds \"whisper_model_args\""},
        {"{" WHOLE ",\"sliding_window\":-1}", ANEMO_ERR_FORMAT, "\"sliding_window\" must be"},
        {"{" WHOLE ",\"sliding_window\":\"4k\"}", ANEMO_ERR_FORMAT, "\"sliding_window\" must be"},
        {"{" WHOLE ",\"sliding_window\":[1,2]}", ANEMO_ERR_UNSUPPORTED,
         "windows of different sizes"},
        {"{" WHOLE ",\"sliding_window\":[true]}", ANEMO_ERR_FORMAT, "\"sliding_window\" must be"},
        {"{" WHOLE ",\"yarn\":{}}", ANEMO_ERR_FORMAT, "\"yarn\" needs"},
        {"{" WHOLE ",\"yarn\":1}", ANEMO_ERR_FORMAT, "must be objects"},
        {"{" WHOLE ",\"llama_4_scaling\":{}}", ANEMO_ERR_UNSUPPORTED, "without \"yarn\""},
        {"{" WHOLE
         ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8},\"llama_4_scaling\":"
         "{\"original_max_position_embeddings\":9}}",
         ANEMO_ERR_UNSUPPORTED, "different original lengths"},
        {"{" WHOLE ",\"model_type\":1}", ANEMO_ERR_FORMAT, "model_type"},
        {"{" WHOLE ",\"activation\":1}", ANEMO_ERR_FORMAT, "activation"},
        {"{" WHOLE ",\"n_kv_heads\":\"x\"}", ANEMO_ERR_FORMAT, "n_kv_heads"},
        {"{" WHOLE ",\"head_dim\":0}", ANEMO_ERR_FORMAT, "head_dim"},
        {"{" WHOLE ",\"norm_eps\":\"x\"}", ANEMO_ERR_FORMAT, "norm_eps"},
        {"{" WHOLE ",\"max_seq_len\":\"x\"}", ANEMO_ERR_FORMAT, "max_seq_len"},
        {"{" WHOLE ",\"max_position_embeddings\":-1}", ANEMO_ERR_FORMAT, "max_position_embeddings"},
        {"{" WHOLE ",\"rope_theta\":\"x\"}", ANEMO_ERR_FORMAT, "rope_theta"},
        {"{" WHOLE ",\"tied_embeddings\":1}", ANEMO_ERR_FORMAT, "tied_embeddings"},
        {"{" WHOLE ",\"vocab_size\":-1}", ANEMO_ERR_FORMAT, "vocab_size"},
        {"{" WHOLE ",\"hidden_dim\":1.5}", ANEMO_ERR_FORMAT, "hidden_dim"},
        {"{" WHOLE ",\"n_heads\":[]}", ANEMO_ERR_FORMAT, "n_heads"},
        {"{" WHOLE
         ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8,\"factor\":\"x\"}}",
         ANEMO_ERR_FORMAT, "factor"},
        {"{" WHOLE
         ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8,\"beta\":\"x\"}}",
         ANEMO_ERR_FORMAT, "beta"},
        {"{" WHOLE ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8,\"alpha\":[]}}",
         ANEMO_ERR_FORMAT, "alpha"},
        {"{" WHOLE
         ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8,\"apply_scale\":1}}",
         ANEMO_ERR_FORMAT, "apply_scale"},
        {"{" WHOLE ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8,\"original_max_"
                   "position_embeddings\":-1}}",
         ANEMO_ERR_FORMAT, "original_max_position_embeddings"},
        {"{" WHOLE ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8},\"llama_4_"
                   "scaling\":{\"beta\":\"x\"}}",
         ANEMO_ERR_FORMAT, "beta"},
        {"{" WHOLE ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8},\"llama_4_"
                   "scaling\":{\"original_max_position_embeddings\":-1}}",
         ANEMO_ERR_FORMAT, "original_max_position_embeddings"},
        {"{" WHOLE
         ",\"yarn\":{\"factor\":2,\"original_max_position_embeddings\":8},\"llama_4_scaling\":1}",
         ANEMO_ERR_FORMAT, "must be objects"},
        {"{" WHOLE ",\"yarn\":{\"factor\":2}}", ANEMO_ERR_FORMAT, "\"yarn\" needs"},
        {"{" WHOLE ",\"n_layers\":0}", ANEMO_ERR_FORMAT, "n_layers"},
        {"{" WHOLE ",\"n_layers\":100000}", ANEMO_ERR_FORMAT, "number of layers is 100000"},
        {"{" WHOLE ",\"dim\":\"64\"}", ANEMO_ERR_FORMAT, "dim"},
        {"{\"dim\":64,\"n_layers\":4,\"hidden_dim\":96,\"n_heads\":4,\"vocab_size\":300}",
         ANEMO_ERR_FORMAT, "\"norm_eps\" is missing"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) {
        anemo_error err = {0};
        json_t *config = NULL;
        char text[800];
        /* A repeated key stands for the last one. */
        snprintf(text, sizeof text, "%s", CASES[i].params);
        json_error_t ignored;
        json_t *p = json_loads(text, JSON_DECODE_ANY, &ignored);
        assert_non_null(p);
        anemo_status status =
            an_hparams_native_config(p, NULL, "params.json", &config, note, sizeof note, &err);
        if (status != CASES[i].status || !strstr(err.message, CASES[i].message))
            fail_msg("%s: %s: '%s', expected '%s'", text, anemo_status_name(status), err.message,
                     CASES[i].message);
        json_decref(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_neutral),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Hand-made bad safetensors headers and config.json texts, each with the text that its refusal must
 * hold.
 */
#include "support/test.h"

#include "arch/hparams.h"
#include "format/safetensors.h"

#include <stdlib.h>

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define OK T("a", "U8", "[4]", "[0,4]")

/* A header and the number of data bytes behind it. */
static const struct {
    const char *header;
    size_t n_data;
    const char *text;
} headers[] = {
    {"[]", 0, "expected '{'"},
    {" {}", 0, "expected '{'"},
    {"{ ", 0, "expected a string"},
    {"{} x", 0, "behind the end"},
    {"{\"a\"}", 0, "expected ':'"},
    {"{\"a\":1}", 0, "expected '{'"},
    {"{\"a\":{}}", 0, "expected a string"},
    {"{" OK ",}", 4, "expected a string"},
    {"{" OK, 4, "ends too early"},
    {"{" OK "," OK "}", 4, "overlap"},
    {"{" OK "," T("a", "U8", "[0]", "[4,4]") "}", 4, "occurs twice"},
    {"{" OK "}", 3, "do not lie in"},
    {"{" OK "}", 5, "1 bytes behind the last tensor"},
    {"{" T("a", "U8", "[4]", "[1,5]") "}", 5, "leave a hole"},
    {"{" OK "," T("b", "U8", "[2]", "[6,8]") "}", 8, "leave a hole"},
    {"{" OK "," T("b", "U8", "[2]", "[3,5]") "}", 5, "overlap"},
    {"{" T("a", "U8", "[4]", "[4,0]") "}", 4, "do not lie in"},
    {"{" T("a", "U8", "[4]", "[0,18446744073709551615]") "}", 4, "do not lie in"},
    {"{" T("a", "U8", "[4]", "[0,18446744073709551616]") "}", 4, "above 2^64"},
    {"{" T("a", "U8", "[4]", "[0,4,5]") "}", 4, "two numbers"},
    {"{" T("a", "U8", "[4]", "[4]") "}", 4, "two numbers"},
    {"{" T("a", "U8", "[4]", "[-1,4]") "}", 4, "at least 0"},
    {"{" T("a", "U8", "[4]", "[0,4.0]") "}", 4, "whole number"},
    {"{" T("a", "U8", "[4]", "[0,4e0]") "}", 4, "whole number"},
    {"{" T("a", "U8", "[4]", "[00,4]") "}", 4, "leading zero"},
    {"{" T("a", "U8", "[4]", "\"0,4\"") "}", 4, "expected '['"},
    {"{" T("a", "F32", "[4]", "[0,4]") "}", 4, "its shape needs 128 bits"},
    {"{" T("a", "F4", "[3]", "[0,2]") "}", 2, "its shape needs 12 bits"},
    {"{" T("a", "U8", "[9223372036854775807,3]", "[0,4]") "}", 4, "overflows"},
    {"{" T("a", "U8", "[9223372036854775808]", "[0,4]") "}", 4, "2^63 - 1"},
    {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,4]", "[0,4]") "}", 4, "more than 8 dimensions"},
    {"{" T("a", "U8", "4", "[0,4]") "}", 4, "expected '['"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "needs dtype, shape and data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
     "occurs twice"},
    {"{\"a\":{\"dtype\":\"U8\",\"extra\":1,\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
     "a key other than"},
    {"{\"a\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "expected a string"},
    {"{" T("", "U8", "[4]", "[0,4]") "}", 4, "empty name"},
    {"{" T("a\\u0000b", "U8", "[4]", "[0,4]") "}", 4, "bad escape"},
    {"{" T("a\\ud800", "U8", "[4]", "[0,4]") "}", 4, "bad escape"},
    {"{" T("a\\x", "U8", "[4]", "[0,4]") "}", 4, "bad escape"},
    {"{" T("a\\n", "U8", "[4]", "[0,4]") "}", 4, "control character"},
    {"{" T("a\xFF", "U8", "[4]", "[0,4]") "}", 4, "not UTF-8"},
    {"{\"__metadata__\":{\"a\":1}," OK "}", 4, "strings only"},
    {"{\"__metadata__\":[]," OK "}", 4, "expected '{'"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}," OK "}", 4, "occurs twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}," OK "}", 4, "occurs twice"},
};

static void expect_bad(const void *data, size_t n, const char *text, size_t i)
{
    anemo_error err = {0};
    an_safetensors *st;
    void *copy = malloc(n ? n : 1);
    if (n) memcpy(copy, data, n);
    anemo_status status = an_safetensors_open_bytes(&st, copy, n, "bad", &err);
    if (status == ANEMO_OK) fail_msg("header %zu was accepted", i);
    if (anemo_status_exit_code(status) != 3 || !strstr(err.message, text))
        fail_msg("header %zu: %s, '%s' lacks '%s'", i, anemo_status_name(status), err.message,
                 text);
    free(copy);
}

static void bad_safetensors(void **state)
{
    (void)state;
    static char data[4096];
    for (size_t i = 0; i < AN_COUNT_OF(headers); i++) {
        uint64_t len = strlen(headers[i].header);
        memset(data, 0, sizeof data);
        memcpy(data, &len, 8);
        memcpy(data + 8, headers[i].header, len);
        expect_bad(data, 8 + len + headers[i].n_data, headers[i].text, i);
    }
    /* Lengths of the header that the file contradicts. */
    static const uint64_t lengths[] = {
        0, 1, 3, 1 << 20, 100000001, UINT64_C(1) << 63, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < AN_COUNT_OF(lengths); i++) {
        memset(data, '{', 64);
        memcpy(data, &lengths[i], 8);
        expect_bad(data, 10, "header of", 1000 + i);
    }
    for (size_t n = 0; n < 8; n++)
        expect_bad(data, n, "shorter than 8 bytes", 2000 + n);
    assert_true(AN_COUNT_OF(headers) + AN_COUNT_OF(lengths) >= 40);
}

static void deep_nesting_is_no_recursion(void **state)
{
    (void)state;
    size_t n = 4 << 20;
    char *data = malloc(8 + n);
    uint64_t len = n;
    memset(data + 8, '[', n);
    memcpy(data, &len, 8);
    memcpy(data + 8, "{\"a\":", 5);
    expect_bad(data, 8 + n, "expected '{'", 0);
    free(data);
}

#define C(keys) "{\"model_type\":\"llama\"," keys "}"
#define SIZES                                                                                      \
    "\"num_hidden_layers\":2,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_heads\":" \
    "4,\"vocab_size\":32"

static const struct {
    const char *config, *text;
} configs[] = {
    {"", "not valid JSON"},
    {"{", "not valid JSON"},
    {"[]", "must be a JSON object"},
    {"7", "must be a JSON object"},
    {"{}", "model_type"},
    {"{\"model_type\":7}", "must be a string"},
    {"{\"model_type\":\"gemma\"}", "gemma"},
    {"{\"model_type\":\"mixtral\"}", "experts"},
    {"{\"model_type\":\"mistral3\"}", "text_config"},
    {"{\"model_type\":\"mistral3\",\"text_config\":[]}", "text_config"},
    {"{\"model_type\":\"llama\",\"model_type\":\"llama\"}", "duplicate"},
    {C("\"hidden_size\":64"), "num_hidden_layers"},
    {C("\"num_hidden_layers\":\"2\""), "must be an integer"},
    {C("\"num_hidden_layers\":2.5"), "must be an integer"},
    {C("\"num_hidden_layers\":-1"), "num_hidden_layers"},
    {C("\"num_hidden_layers\":99999999999999999999"), "not valid JSON"},
    {C("\"num_hidden_layers\":100000,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_"
       "heads\":4,\"vocab_size\":9"),
     "layers"},
    {C("\"num_hidden_layers\":2,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_"
       "heads\":0,\"vocab_size\":9"),
     "head"},
    {C(SIZES ",\"num_key_value_heads\":3"), "evenly"},
    {C(SIZES ",\"num_key_value_heads\":0"), "key-value"},
    {C(SIZES ",\"head_dim\":15"), "odd"},
    {C(SIZES ",\"head_dim\":2147483646"), "head dimension"},
    {C(SIZES ",\"rms_norm_eps\":-1"), "norm epsilon"},
    {C(SIZES ",\"rms_norm_eps\":\"small\""), "must be a number"},
    {C(SIZES ",\"rope_theta\":0"), "rope theta"},
    {C(SIZES ",\"rope_scaling\":{\"type\":\"spiral\",\"factor\":2}"), "spiral"},
    {C(SIZES ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":-4}"), "factor"},
    {C(SIZES ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":\"x\"}"), "must be a number"},
    {C(SIZES ",\"hidden_act\":\"gelu\""), "gelu"},
    {C(SIZES ",\"num_local_experts\":8"), "mixture of experts"},
    {C(SIZES ",\"kv_lora_rank\":512"), "MLA"},
    {C(SIZES ",\"eos_token_id\":\"</s>\""), "eos_token_id"},
    {C("\"num_hidden_layers\":2,\"hidden_size\":72,\"intermediate_size\":96,\"num_attention_"
       "heads\":4,\"vocab_size\":9"),
     "multiples of 32"},
    {C("\"num_hidden_layers\":2,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_"
       "heads\":4,\"vocab_size\":0"),
     "vocabulary of 0"},
    {C(SIZES ",\"num_local_experts\":\"8\""), "mixture of experts"},
    {C(SIZES ",\"moe\":{}"), "mixture of experts"},
    {C(SIZES ",\"rope_parameters\":{\"full_attention\":{},\"sliding_attention\":{}}"), "differ by layer type"},
    {C(SIZES ",\"rope_parameters\":{\"sliding_attention\":{}}"), "differ by layer type"},
    {C(SIZES ",\"partial_rotary_factor\":0"), "partial_rotary_factor"},
    {C(SIZES ",\"partial_rotary_factor\":2"), "partial_rotary_factor"},
    {C(SIZES ",\"partial_rotary_factor\":0.5"), "only 8 of 16"},
    {C(SIZES ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,"
             "\"original_max_position_embeddings\":0}"),
     "original"},
    {C(SIZES ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,"
             "\"high_freq_factor\":1,\"original_max_position_embeddings\":64}"),
     "high_freq_factor must be above"},
    {C(SIZES ",\"head_dim\":2,\"num_key_value_heads\":4,\"num_attention_heads\":16"), "duplicate"},
    {C(SIZES ",\"sliding_window\":\"x\",\"layer_types\":[\"sliding_attention\",\"sliding_attention\"]"),
     "sliding_window"},
    {C(SIZES ",\"layer_types\":[\"sliding_attention\",7]"), "layer_types"},
    {C(SIZES ",\"layer_types\":[\"linear_attention\",\"full_attention\"]"), "linear_attention"},
    {C(SIZES ",\"layer_types\":[\"full_attention\"]"), "layer_types"},
    {C(SIZES ",\"eos_token_id\":[1,\"x\"]"), "eos_token_id"},
    {C(SIZES ",\"eos_token_id\":-1"), "eos_token_id"},
    {C(SIZES ",\"eos_token_id\":99999999999"), "eos_token_id"},
    {C(SIZES ",\"quantization\":7"), "quantization"},
    {C(SIZES ",\"quantization\":{\"mode\":7}"), "must be a string"},
    {C(SIZES ",\"quantization\":{\"model.layers.0.mlp.up_proj\":{\"mode\":\"nvint4\"}}"), "nvint4"},
    {C(SIZES ",\"quantization\":{\"model.layers.0.mlp.up_proj\":{\"mode\":1}}"), "must be a string"},
    {C(SIZES ",\"quantization_config\":{\"quant_method\":7}"), "must be a string"},
    {C(SIZES ",\"quantization_config\":{\"bits\":4,\"mode\":\"mxint8\"}"), "mxint8"},
    {C(SIZES ",\"hidden_act\":7"), "must be a string"},
    {C(SIZES ",\"quantization\":{\"mode\":\"mxint4\"}"), "mxint4"},
    {C(SIZES ",\"quantization_config\":{\"quant_method\":\"awq\"}"), "awq"},
    {C(SIZES ",\"tie_word_embeddings\":1"), "must be true or false"},
};

static void bad_configs(void **state)
{
    (void)state;
    an_arch_params *p = malloc(sizeof *p);
    for (size_t i = 0; i < AN_COUNT_OF(configs); i++) {
        anemo_error err = {0};
        anemo_status status = an_hparams_from_config(configs[i].config, strlen(configs[i].config),
                                                     "config.json", p, &err);
        if (status == ANEMO_OK) fail_msg("config %zu was accepted", i);
        if (anemo_status_exit_code(status) != 3 || !strstr(err.message, configs[i].text) ||
            !strstr(err.message, "config.json"))
            fail_msg("config %zu: %s, '%s' lacks '%s'", i, anemo_status_name(status), err.message,
                     configs[i].text);
    }
    /* The same sizes without a fault are taken: the refusals above have the reason that they name.
     */
    anemo_error err = {0};
    static const char good[] = C(SIZES);
    assert_ok(an_hparams_from_config(good, sizeof good - 1, "config.json", p, &err), &err);
    /* A megabyte of open brackets ends in an error, not on the stack. */
    size_t n = 1 << 20;
    char *deep = malloc(n);
    memset(deep, '[', n);
    assert_fails(an_hparams_from_config(deep, n, "config.json", p, &err), &err, ANEMO_ERR_FORMAT,
                 "not valid JSON");
    free(deep);
    free(p);
    assert_true(AN_COUNT_OF(configs) >= 20);
}

/* Every key that is read, with an object where a number, a word or a truth value belongs: the message names it. */
static void wrong_types(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta",
        "partial_rotary_factor", "use_sliding_window", "tie_word_embeddings", "mlp_bias", "hidden_act",
    };
    static const char *const rope_keys[] = {
        "rope_theta", "partial_rotary_factor", "rope_type", "type", "factor", "original_max_position_embeddings",
        "beta_fast", "beta_slow", "truncate", "mscale", "mscale_all_dim", "attention_factor", "llama_4_scaling_beta",
    };
    static const char *const llama3_keys[] = {"low_freq_factor", "high_freq_factor"};
    static const struct {
        const char *const *keys;
        size_t n;
        const char *before, *after;
    } groups[] = {
        {keys, AN_COUNT_OF(keys), C(SIZES ",\"%s\":{}") "", ""},
        {rope_keys, AN_COUNT_OF(rope_keys),
         "{\"model_type\":\"ministral3\"," SIZES ",\"head_dim\":16,\"rope_parameters\":{%s\"%s\":{}}}",
         "\"rope_type\":\"yarn\",\"factor\":4,"},
        {llama3_keys, AN_COUNT_OF(llama3_keys), C(SIZES ",\"rope_scaling\":{%s\"%s\":{}}"),
         "\"rope_type\":\"llama3\",\"factor\":8,\"original_max_position_embeddings\":64,"},
    };
    static an_arch_params p;
    for (size_t g = 0; g < AN_COUNT_OF(groups); g++)
        for (size_t i = 0; i < groups[g].n; i++) {
            anemo_error err = {0};
            char text[512];
            const char *key = groups[g].keys[i], *fill = groups[g].after;
            /* The key itself replaces what would be given twice. */
            if (!strcmp(key, "rope_type") || !strcmp(key, "factor")) fill = "";
            if (*groups[g].after) snprintf(text, sizeof text, groups[g].before, fill, key);
            else snprintf(text, sizeof text, groups[g].before, key);
            anemo_status status = an_hparams_from_config(text, strlen(text), "config.json", &p, &err);
            if (status != ANEMO_ERR_FORMAT || !strstr(err.message, key))
                fail_msg("%s: %s, '%s'", text, anemo_status_name(status), err.message);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_safetensors),
        cmocka_unit_test(deep_nesting_is_no_recursion),
        cmocka_unit_test(bad_configs),
        cmocka_unit_test(wrong_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

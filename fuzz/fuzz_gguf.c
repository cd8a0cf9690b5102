/* GGUF bytes: open, use everything that the reader hands out, then read hyperparameters and vocabulary from it. */
#include "fuzz/fuzz.h"
#include "fuzz/use_tokenizer.h"

#include "arch/hparams.h"
#include "format/gguf.h"

#include <stdio.h>

static volatile unsigned sink;

static void use_kv(const an_gguf *g, const an_gguf_kv *kv)
{
    anemo_error err;
    unsigned sum = fuzz_touch(kv->key.data, kv->key.len) + fuzz_touch(kv->value, kv->value_bytes);
    char key[200];
    int64_t i;
    double d;
    bool b;
    an_bytes s;
    if (kv->type == AN_GGUF_ARRAY && kv->elem_type == AN_GGUF_STRING) {
        uint64_t pos = 0;
        for (uint64_t k = 0; k < kv->n; k++) {
            s = an_gguf_array_next_str(kv, &pos);
            sum += fuzz_touch(s.data, s.len);
        }
        if (pos != kv->value_bytes) abort();
    }
    snprintf(key, sizeof key, "%.*s", (int)(kv->key.len < 199 ? kv->key.len : 199), kv->key.data);
    if (an_gguf_get_i64(g, key, true, INT64_MIN, INT64_MAX, &i, &err) == ANEMO_OK)
        sum += (unsigned)i;
    if (an_gguf_get_f64(g, key, true, &d, &err) == ANEMO_OK) sum += d > 0;
    if (an_gguf_get_bool(g, key, true, &b, &err) == ANEMO_OK) sum += b;
    if (an_gguf_get_str(g, key, true, &s, &err) == ANEMO_OK) sum += (unsigned)s.len;
    if (kv->key.len < 199 && an_gguf_find(g, key) != kv) abort();
    sink += sum;
}

static void use_model(const an_gguf *g, const uint8_t *data, size_t size)
{
    static an_arch_params params;
    anemo_error err = {0};
    an_tokenizer *t;
    if (an_hparams_from_gguf(g, &params, &err) == ANEMO_OK) sink += (unsigned)params.hp.n_layer;
    else if (!err.message[0]) abort();
    err.message[0] = '\0';
    if (an_tokenizer_open_gguf(&t, g, &err) == ANEMO_OK) {
        use_tokenizer(t, (const char *)data, size < 64 ? size : 64);
        an_tokenizer_close(t);
    } else if (!err.message[0]) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_gguf *g;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_gguf_open_bytes(&g, copy, size, "fuzz", &err) == ANEMO_OK) {
        for (size_t i = 0; i < an_gguf_n_kv(g); i++)
            use_kv(g, an_gguf_kv_at(g, i));
        for (size_t i = 0; i < an_gguf_n_tensor(g); i++) {
            const an_gguf_tensor *t = an_gguf_tensor_at(g, i);
            sink += fuzz_touch(t->data, t->bytes);
            if (an_gguf_find_tensor(g, t->name) != t) abort();
        }
        use_model(g, copy, size);
        an_gguf_close(g);
    } else if (!err.message[0]) {
        abort(); /* a refusal without a reason */
    }
    free(copy);
    return 0;
}

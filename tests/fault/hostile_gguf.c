/*
 * Hand-made bad GGUF files, each with the text that its refusal must hold. The first groups are
 * refused by the reader of the container, the last one by the architecture; all through an
 * exact-size copy in memory or a real file.
 */
#include "support/test.h"

#include "arch/model_file.h"
#include "format/gguf.h"
#include "support/gguf_build.h"

#include <stdlib.h>

/* Expected text of case i of a group, whose file is then in *file; NULL behind the last case. */
typedef const char *(*group_fn)(int i, test_buf *file);

/* A complete good file whose bytes are then changed. */
static test_buf good(void)
{
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "llama");
    int64_t shape[2] = {2, 32};
    gguf_build_tensor(&b, "w", 2, 2, shape, NULL, 36);
    return gguf_build_finish(&b);
}

static void poke(test_buf *file, size_t at, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        file->data[at + i] = (unsigned char)(v >> (8 * i));
}

static const char *header_case(int i, test_buf *f)
{
    *f = good();
    switch (i) {
    case 0:
        f->n = 0;
        return "not a GGUF file";
    case 1:
        f->n = 3;
        return "not a GGUF file";
    case 2:
        f->n = 4;
        return "ends inside the version";
    case 3:
        poke(f, 0, 0x4C4D4747, 4);
        return "first four bytes are not GGUF";
    case 4:
        poke(f, 4, 0, 4);
        return "GGUF version 0";
    case 5:
        poke(f, 4, 1, 4);
        return "GGUF version 1";
    case 6:
        poke(f, 4, 4, 4);
        return "GGUF version 4";
    case 7:
        poke(f, 4, 0x03000000, 4);
        return "big-endian";
    case 8:
        f->n = 12;
        return "ends inside the header";
    case 9:
        f->n = 23;
        return "ends inside the header";
    case 10:
        poke(f, 8, UINT64_MAX, 8);
        return "tensor count of 18446744073709551615";
    case 11:
        poke(f, 8, UINT64_C(1) << 63, 8);
        return "tensor count";
    case 12:
        poke(f, 8, 1 << 20, 8);
        return "more than the file can hold";
    case 13:
        poke(f, 16, UINT64_MAX, 8);
        return "key count";
    case 14:
        poke(f, 16, 1 << 16, 8);
        return "key count";
    case 15:
        poke(f, 16, 2, 8);
        return "a tensor name has a length"; /* the tensor was read as a key */
    case 16:
        poke(f, 8, 2, 8);
        return "at byte 110"; /* the padding is read as a tensor */
    default:
        return NULL;
    }
}

/* A file that holds one key with a value by hand. */
static const char *key_case(int i, test_buf *f)
{
    gguf_build b;
    const char *text = NULL;
    gguf_build_init(&b);
    b.n_kv = 1;
    /* A file large enough that a count is not refused by the header already. */
    if (i < 4) test_buf_u64(&b.kv, (const uint64_t[]){0, 65536, UINT64_MAX, 60000}[i]);
    switch (i) {
    case 0:
        text = "a key has a length of 0";
        break;
    case 1:
        text = "a key has a length of 65536";
        break;
    case 2:
        text = "a key has a length of 18446744073709551615";
        break;
    case 3:
        text = "bytes are left";
        break;
    case 4:
        test_buf_u64(&b.kv, 3);
        test_buf_put(&b.kv, "a\0b", 3);
        text = "holds a zero byte";
        break;
    case 5:
        gguf_build_u32(&b, "k", 1);
        gguf_build_u32(&b, "other", 1);
        gguf_build_u32(&b, "k", 2);
        b.n_kv = 3;
        text = "the key k occurs twice";
        break;
    case 6:
        gguf_build_key(&b, "k", 13);
        text = "unknown value type 13";
        break;
    case 7:
        gguf_build_key(&b, "k", 0x80000000);
        text = "unknown value type 2147483648";
        break;
    case 8:
        gguf_build_key(&b, "k", 8);
        test_buf_u64(&b.kv, UINT64_MAX);
        text = "the string k has a length";
        break;
    case 9:
        gguf_build_key(&b, "k", 8);
        test_buf_u64(&b.kv, 1 << 20);
        text = "bytes are left";
        break;
    case 10:
        gguf_build_key(&b, "k", 8);
        test_buf_u64(&b.kv, (1 << 30) + 1);
        text = "expected 0 to 1073741824";
        break;
    case 11:
        gguf_build_key(&b, "k", 9);
        test_buf_u32(&b.kv, 13);
        test_buf_u64(&b.kv, 0);
        text = "unknown element type";
        break;
    case 12:
        gguf_build_key(&b, "k", 9);
        test_buf_u32(&b.kv, 9);
        test_buf_u64(&b.kv, 1);
        text = "array of arrays";
        break;
    case 13:
        gguf_build_key(&b, "k", 9);
        test_buf_u32(&b.kv, 10);
        test_buf_u64(&b.kv, UINT64_C(1) << 61);
        text = "elements but only";
        break;
    case 14:
        gguf_build_key(&b, "k", 9);
        test_buf_u32(&b.kv, 0);
        test_buf_u64(&b.kv, UINT64_MAX);
        text = "elements but only";
        break;
    case 15:
        gguf_build_key(&b, "k", 9);
        test_buf_u32(&b.kv, 8);
        test_buf_u64(&b.kv, 1);
        test_buf_u64(&b.kv, 99);
        text = "a string of k";
        break;
    case 16:
        gguf_build_key(&b, "k", 9);
        test_buf_u32(&b.kv, 8);
        test_buf_u64(&b.kv, 100);
        text = "elements but only";
        break;
    case 17:
        gguf_build_u32(&b, "general.alignment", 0);
        text = "general.alignment is 0";
        break;
    case 18:
        gguf_build_u32(&b, "general.alignment", 4);
        text = "general.alignment is 4";
        break;
    case 19:
        gguf_build_u32(&b, "general.alignment", 24);
        text = "power of two";
        break;
    case 20:
        gguf_build_u64(&b, "general.alignment", 32);
        text = "must be u32";
        break;
    case 21:
        gguf_build_str(&b, "split.count", "3");
        text = "split.count must be a whole number";
        break;
    case 22:
        gguf_build_u16(&b, "split.count", 3);
        text = "one of 3 parts";
        break;
    case 23:
        gguf_build_key(&b, "\x1b[2J", 99);
        text = "\\x1b[2J has the unknown";
        break; /* nothing steers a terminal */
    default:
        break;
    }
    b.n_kv = i == 5 ? 3 : 1;
    *f = gguf_build_finish(&b);
    test_buf_zero(f, 40);
    return text;
}

static const char *tensor_case(int i, test_buf *f)
{
    gguf_build b;
    const char *text = NULL;
    uint64_t d1 = 32, d2[2] = {32, 2}, five[5] = {1, 1, 1, 1, 1}, none = 0;
    uint64_t over[2] = {UINT64_C(1) << 32, UINT64_C(1) << 32}, big = UINT64_C(1) << 63;
    char name[80];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    gguf_build_init(&b);
    switch (i) {
    case 0:
        gguf_build_info(&b, "", 1, &d1, 0, 0);
        text = "a tensor name has a length of 0";
        break;
    case 1:
        gguf_build_info(&b, name, 1, &d1, 0, 0);
        text = "a tensor name has a length of 64";
        break;
    case 2:
        gguf_build_info(&b, "a\nb", 1, &d1, 0, 0);
        text = "control character";
        break;
    case 3:
        gguf_build_info(&b, "w", 5, five, 0, 0);
        text = "5 dimensions";
        break;
    case 4:
        gguf_build_info(&b, "w", 0, NULL, 0, 0);
        poke(&b.infos, 9, 0xFFFFFFFF, 4);
        text = "4294967295 dimensions";
        break;
    case 5:
        gguf_build_info(&b, "w", 1, &none, 0, 0);
        text = "a dimension of 0";
        break;
    case 6:
        gguf_build_info(&b, "w", 2, over, 0, 0);
        text = "number of elements of the tensor w overflows";
        break;
    case 7:
        gguf_build_info(&b, "w", 1, &big, 24, 0);
        text = "number of elements of the tensor w overflows";
        break;
    case 8:
        d1 = 33;
        gguf_build_info(&b, "w", 1, &d1, 2, 0);
        text = "33 elements, not a multiple of the 32";
        break;
    case 9:
        d1 = 128;
        gguf_build_info(&b, "w", 1, &d1, 12, 0);
        text = "not a multiple of the 256";
        break;
    case 10:
        gguf_build_info(&b, "w", 1, &d1, 4, 0);
        text = "retired type 4";
        break;
    case 11:
        gguf_build_info(&b, "w", 1, &d1, 31, 0);
        text = "retired type 31";
        break;
    case 12:
        gguf_build_info(&b, "w", 1, &d1, 38, 0);
        text = "retired type 38";
        break;
    case 13:
        gguf_build_info(&b, "w", 1, &d1, 43, 0);
        text = "unknown type 43";
        break;
    case 14:
        gguf_build_info(&b, "w", 1, &d1, UINT32_MAX, 0);
        text = "unknown type 4294967295";
        break;
    case 15:
        gguf_build_info(&b, "w", 1, &d1, 0, 16);
        text = "no multiple of the alignment 32";
        break;
    case 16:
        gguf_build_info(&b, "w", 1, &d1, 0, 1 << 20);
        text = "ends beyond the file";
        break;
    case 17:
        gguf_build_info(&b, "w", 1, &d1, 0, UINT64_MAX - 31);
        text = "ends beyond the file";
        break;
    case 18:
        d1 = 1 << 20;
        gguf_build_info(&b, "w", 1, &d1, 0, 0);
        text = "ends beyond the file";
        break;
    case 19:
        d1 = INT64_MAX;
        gguf_build_info(&b, "w", 1, &d1, 0, 0);
        text = "size of the tensor w overflows";
        break;
    case 20:
        gguf_build_info(&b, "w", 1, &d1, 0, 0);
        gguf_build_info(&b, "v", 1, &d1, 0, 96);
        text = "the tensors w and v overlap";
        break;
    case 21:
        gguf_build_info(&b, "w", 2, d2, 0, 0);
        gguf_build_info(&b, "v", 2, d2, 0, 0);
        text = "overlap";
        break;
    case 22:
        gguf_build_info(&b, "w", 1, &d1, 0, 0);
        gguf_build_info(&b, "w", 1, &d1, 0, 128);
        text = "the tensor w occurs twice";
        break;
    default:
        break;
    }
    test_buf_zero(&b.data, 256);
    *f = gguf_build_finish(&b);
    return text;
}

static void run_group(group_fn group, const char *what)
{
    test_buf file;
    const char *text;
    int i;
    for (i = 0; (text = group(i, &file)) != NULL; i++) {
        anemo_error err = {0};
        an_gguf *g;
        unsigned char *copy = malloc(file.n ? file.n : 1);
        if (file.n) memcpy(copy, file.data, file.n);
        anemo_status status = an_gguf_open_bytes(&g, copy, file.n, "bad.gguf", &err);
        if (status == ANEMO_OK) fail_msg("%s case %d was accepted", what, i);
        if (anemo_status_exit_code(status) != 3 || !strstr(err.message, text) ||
            !strstr(err.message, "bad.gguf"))
            fail_msg("%s case %d: %s, '%s' lacks '%s'", what, i, anemo_status_name(status),
                     err.message, text);
        free(copy);
        test_buf_free(&file);
    }
    test_buf_free(&file);
    print_message("%d files\n", i);
    assert_true(i >= 15);
}

static void bad_headers(void **state)
{
    (void)state;
    run_group(header_case, "header");
}

static void bad_keys(void **state)
{
    (void)state;
    run_group(key_case, "key");
}

static void bad_tensors(void **state)
{
    (void)state;
    run_group(tensor_case, "tensor");
}

/* Put another u32 (or f32's bits) behind a key of the tiny model; the key keeps its type. */
static void set_u32(gguf_build *b, const char *key, uint32_t v)
{
    size_t n = strlen(key);
    for (size_t i = 0; i + n + 8 <= b->kv.n; i++) {
        if (memcmp(b->kv.data + i, key, n)) continue;
        poke(&b->kv, i + n + 4, v, 4);
        return;
    }
    fail_msg("no key %s", key);
}

/* Change one byte of a name, so that the thing named is missing. */
static void rename_in(test_buf *buf, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i + n <= buf->n; i++) {
        if (memcmp(buf->data + i, name, n)) continue;
        buf->data[i + n - 1] = '?';
        return;
    }
    fail_msg("no name %s", name);
}

static const char *model_case(int i, gguf_build *b)
{
    int64_t one[2] = {64, 64};
    switch (i) {
    case 0:
        rename_in(&b->kv, "general.architecture");
        return "general.architecture";
    case 1:
        rename_in(&b->kv, "llama");
        return "architecture";
    case 2:
        set_u32(b, "llama.block_count", 0);
        return "layers";
    case 3:
        set_u32(b, "llama.block_count", 0xFFFFFFFF);
        return "block_count";
    case 4:
        set_u32(b, "llama.block_count", 100000);
        return "layers";
    case 5:
        set_u32(b, "llama.block_count", 3);
        return "blk.2.";
    case 6:
        set_u32(b, "llama.embedding_length", 0x7FFFFFFF);
        return "embedding";
    case 7:
        set_u32(b, "llama.embedding_length", 96);
        return "rotated";
    case 8:
        set_u32(b, "llama.attention.head_count", 0);
        return "head";
    case 9:
        set_u32(b, "llama.attention.head_count_kv", 3);
        return "evenly";
    case 10:
        set_u32(b, "llama.attention.head_count_kv", 0);
        return "key-value heads";
    case 11:
        set_u32(b, "llama.feed_forward_length", 64);
        return "ffn_";
    case 12:
        set_u32(b, "llama.attention.layer_norm_rms_epsilon", 0x7FC00000);
        return "finite";
    case 13:
        set_u32(b, "llama.rope.freq_base", 0x7F800000);
        return "finite";
    case 14:
        set_u32(b, "llama.rope.freq_base", 0);
        return "rope theta";
    case 15:
        set_u32(b, "llama.rope.dimension_count", 7);
        return "rotated";
    case 16:
        set_u32(b, "llama.context_length", 0);
        return "context";
    case 17:
        gguf_build_u32(b, "llama.expert_count", 8);
        return "mixture of experts";
    case 18:
        gguf_build_str(b, "general.type", "adapter");
        return "adapter";
    case 19:
        rename_in(&b->infos, "blk.1.ffn_down.weight");
        return "blk.1.ffn_down.weight";
    case 20:
        rename_in(&b->infos, "output_norm.weight");
        return "output_norm.weight";
    case 21:
        rename_in(&b->infos, "blk.0.attn_q.weight");
        gguf_build_tensor(b, "blk.0.attn_q.weight", 26, 2, one, NULL, 64 * 64 * 4);
        return "blk.0.attn_q.weight";
    case 22:
        gguf_build_str(b, "llama.rope.scaling.type", "spiral");
        return "spiral";
    default:
        return NULL;
    }
}

static void bad_models(void **state)
{
    (void)state;
    char path[] = "/tmp/anemo-hostile-XXXXXX";
    const char *text;
    int i, fd = mkstemp(path);
    gguf_build b;
    assert_true(fd >= 0);
    for (i = 0;; i++) {
        gguf_build_init(&b);
        gguf_build_tiny_llama(&b, 0);
        text = model_case(i, &b);
        test_buf file = gguf_build_finish(&b);
        if (text) {
            anemo_error err = {0};
            an_model_file *m;
            test_buf_write(&file, path);
            anemo_status status = an_model_file_open(&m, path, &err);
            if (status == ANEMO_OK) fail_msg("model case %d was accepted", i);
            if (anemo_status_exit_code(status) != 3 || !strstr(err.message, text))
                fail_msg("model case %d: %s, '%s' lacks '%s'", i, anemo_status_name(status),
                         err.message, text);
        }
        test_buf_free(&file);
        if (!text) break;
    }
    remove(path);
    print_message("%d files\n", i);
    assert_true(i >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_headers),
        cmocka_unit_test(bad_keys),
        cmocka_unit_test(bad_tensors),
        cmocka_unit_test(bad_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * PyTorch checkpoints: files written by torch (tests/golden/convert/make_torch.py) give torch's values through their
 * strides; every hand-made bad archive and pickle is refused with its own message.
 */
#include "support/test.h"

#include "base/bytes.h"
#include "base/str.h"
#include "format/torch.h"
#include "quant/half.h"

#include <stdlib.h>

#define GOLDEN(name) AN_TEST_DIR "/golden/convert/" name

/* Element (i, j) of a matrix. */
static float at(const an_torch_tensor *t, int64_t i, int64_t j)
{
    const uint8_t *p = t->data;
    int64_t k = i * t->stride[0] + j * t->stride[1];
    if (t->dtype == AN_DTYPE_F16) return an_f32_from_f16(an_load_u16(p + 2 * k));
    if (t->dtype == AN_DTYPE_BF16) return an_f32_from_bf16(an_load_u16(p + 2 * k));
    return an_load_f32(p + 4 * k);
}

static void check_matrix(const an_torch *t, const char *name, an_dtype dtype, bool contiguous,
                         int64_t n_row, int64_t n_col, int64_t first, int64_t by_row, int64_t by_col)
{
    const an_torch_tensor *x = an_torch_find(t, name);
    assert_non_null(x);
    assert_int_equal(x->dtype, dtype);
    assert_int_equal(x->n_dim, 2);
    assert_int_equal(x->shape[0], n_row);
    assert_int_equal(x->shape[1], n_col);
    assert_int_equal(x->contiguous, contiguous);
    for (int64_t i = 0; i < n_row; i++)
        for (int64_t j = 0; j < n_col; j++)
            assert_true(at(x, i, j) == (float)(first + i * by_row + j * by_col));
}

static void test_views(void **state)
{
    (void)state;
    anemo_error err;
    an_torch *t;
    assert_ok(an_torch_open(&t, GOLDEN("views.pth"), &err), &err);
    assert_int_equal(an_torch_n_tensor(t), 9);
    check_matrix(t, "f32", AN_DTYPE_F32, true, 8, 12, 0, 12, 1);
    check_matrix(t, "f16", AN_DTYPE_F16, true, 2, 12, 0, 12, 1);
    check_matrix(t, "bf16", AN_DTYPE_BF16, true, 2, 12, 0, 12, 1);
    check_matrix(t, "transposed", AN_DTYPE_F32, false, 12, 8, 0, 1, 12);
    check_matrix(t, "slice", AN_DTYPE_F32, false, 3, 4, 27, 12, 1);
    assert_ptr_equal(an_torch_find(t, "tied")->data, an_torch_find(t, "f32")->data);
    assert_true(an_load_f32(an_torch_find(t, "scalar")->data) == 5);
    assert_int_equal(an_torch_find(t, "scalar")->n_dim, 0);
    assert_int_equal(an_torch_find(t, "empty")->bytes, 0);
    assert_int_equal(an_torch_find(t, "parameter")->bytes, 24);
    assert_null(an_torch_find(t, "absent"));
    an_torch_close(t);
    assert_ok(an_torch_open(&t, GOLDEN("nested.pth"), &err), &err);
    check_matrix(t, "transposed", AN_DTYPE_F32, false, 12, 8, 0, 1, 12);
    an_torch_close(t);
}

/* The stream form: the same values, the data of each storage behind the pickles. */
static void test_stream(void **state)
{
    (void)state;
    anemo_error err;
    an_torch *t;
    assert_ok(an_torch_open(&t, GOLDEN("legacy.pth"), &err), &err);
    assert_int_equal(an_torch_n_tensor(t), 1);
    check_matrix(t, "w", AN_DTYPE_F32, true, 8, 12, 0, 12, 1);
    an_torch_close(t);
}

static void test_whole_kinds(void **state)
{
    unsigned char tar[600] = {0};
    memcpy(tar + 257, "ustar", 5);
    (void)state;
    anemo_error err;
    an_torch *t;
    assert_fails(an_torch_open(&t, GOLDEN("module.pth"), &err), &err, ANEMO_ERR_UNSUPPORTED,
                 "refers to torch.nn.modules.linear.Linear");
    assert_fails(an_torch_open(&t, GOLDEN("absent.pth"), &err), &err, ANEMO_ERR_NOTFOUND, "absent.pth");
    assert_fails(an_torch_open_bytes(&t, "", 0, "x", &err), &err, ANEMO_ERR_FORMAT, "is not a PyTorch checkpoint");
    assert_fails(an_torch_open_bytes(&t, tar, sizeof tar, "x", &err), &err, ANEMO_ERR_UNSUPPORTED, "in the tar form");
    assert_fails(an_torch_open_bytes(&t, "GGUF....", 8, "x", &err), &err, ANEMO_ERR_FORMAT,
                 "is not a PyTorch checkpoint");
}

/* ---------------------------------------------------------------------------------------------------- bad pickles */

static void put(an_str *s, uint64_t v, size_t n)
{
    an_str_append_bytes(s, &v, n);
}

typedef struct part {
    const char *name;
    const void *data;
    size_t n;
} part;

/* An archive of stored entries. */
static an_str zip_of(const part *parts, size_t n)
{
    an_str s = {0}, central = {0};
    for (size_t i = 0; i < n; i++) {
        size_t offset = s.len, len = strlen(parts[i].name);
        put(&s, 0x04034B50, 4);
        an_str_append_repeat(&s, '\0', 22);
        put(&s, len, 2);
        put(&s, 0, 2);
        an_str_append(&s, parts[i].name);
        an_str_append_bytes(&s, parts[i].data, parts[i].n);
        put(&central, 0x02014B50, 4);
        an_str_append_repeat(&central, '\0', 16);
        put(&central, parts[i].n, 4);
        put(&central, parts[i].n, 4);
        put(&central, len, 2);
        an_str_append_repeat(&central, '\0', 12);
        put(&central, offset, 4);
        an_str_append(&central, parts[i].name);
    }
    size_t at_central = s.len;
    an_str_append_bytes(&s, central.data, central.len);
    put(&s, 0x06054B50, 4);
    put(&s, 0, 4);
    put(&s, n, 2);
    put(&s, n, 2);
    put(&s, central.len, 4);
    put(&s, at_central, 4);
    put(&s, 0, 2);
    an_str_free(&central);
    return s;
}

static anemo_status open_copy(const an_str *s, anemo_error *err)
{
    an_torch *t;
    void *copy = malloc(s->len);
    memcpy(copy, s->data, s->len);
    anemo_status status = an_torch_open_bytes(&t, copy, s->len, "test", err);
    if (status == ANEMO_OK) an_torch_close(t);
    free(copy);
    return status;
}

static anemo_status open_pickle(const char *pickle, size_t n, anemo_error *err)
{
    const part parts[] = {{"a/data.pkl", pickle, n}, {"a/data/0", "0123456789ABCDEF", 16}};
    an_str s = zip_of(parts, 2);
    anemo_status status = open_copy(&s, err);
    an_str_free(&s);
    return status;
}

#define STORAGE(n) "(U\7storagectorch\nFloatStorage\nU\1" "0U\3cpuK" n "tQ"
#define TENSOR(n, offset, shape, stride)                                                           \
    "}U\1wctorch._utils\n_rebuild_tensor_v2\n(" STORAGE(n) "K" offset shape stride "\x89Nt" "Rs."

#define REBUILD   "ctorch._utils\n_rebuild_tensor_v2\n"
#define REBUILD3  "ctorch._utils\n_rebuild_tensor_v3\n"
#define FROM_TYPE "ctorch._tensor\n_rebuild_from_type_v2\n"
#define UNTYPED   "(U\7storagectorch.storage\nUntypedStorage\nU\1" "0U\3cpuK\20tQ"
#define KEY_65    "12345678901234567890123456789012345678901234567890123456789012345"

/* Long: one line for each reason. */
static void test_bad_pickles(void **state)
{
    (void)state;
#define P(text) text, sizeof(text) - 1
    static const struct {
        const char *pickle;
        size_t n;
        anemo_status status;
        const char *message;
    } CASES[] = {
        {P(TENSOR("\4", "\0", "K\2K\2\x86", "K\2K\1\x86")), ANEMO_OK, ""},
        {P(TENSOR("\5", "\0", "K\2\x85", "K\1\x85")), ANEMO_ERR_FORMAT, "too few for 5 elements"},
        {P(TENSOR("\4", "\1", "K\2K\2\x86", "K\2K\1\x86")), ANEMO_ERR_FORMAT, "reaches beyond its storage"},
        {P(TENSOR("\4", "\0", "K\2K\2\x86", "K\3K\1\x86")), ANEMO_ERR_FORMAT, "reaches beyond its storage"},
        {P(TENSOR("\4", "\0", "K\x40K\x40\x86", "K\0K\0\x86")), ANEMO_ERR_UNSUPPORTED, "repeats those"},
        {P(TENSOR("\4", "\0", "J\377\377\377\377\x85", "K\1\x85")), ANEMO_ERR_FORMAT, "must not be negative"},
        {P(TENSOR("\4", "\0", "K\2\x85", "J\377\377\377\377\x85")), ANEMO_ERR_FORMAT, "must not be negative"},
        {P(TENSOR("\4", "\0", "K\2K\2\x86", "K\1\x85")), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(TENSOR("\4", "\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t")),
         ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(TENSOR("\4", "\0", "\x8A\10\0\0\0\0\0\0\0\x7F\x8A\10\0\0\0\0\0\0\0\x7F\x86", "K\1K\1\x86")),
         ANEMO_ERR_FORMAT, "overflows"},
        {P(""), ANEMO_ERR_FORMAT, "ends at byte 0 without a stop"},
        {P("\x80\2}"), ANEMO_ERR_FORMAT, "without a stop"},
        {P("."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("}."), ANEMO_ERR_FORMAT, "no dictionary of tensors"},
        {P("K\1."), ANEMO_ERR_FORMAT, "no dictionary of tensors"},
        {P("K"), ANEMO_ERR_FORMAT, "0x4b at byte 0: the pickle is cut off"},
        {P("X\377\377\377\377a."), ANEMO_ERR_FORMAT, "cut off"},
        {P("\x8D\377\377\377\377\377\377\377\377a."), ANEMO_ERR_FORMAT, "cut off"},
        {P("\x8A\11" "123456789."), ANEMO_ERR_UNSUPPORTED, "an integer of 9 bytes"},
        {P("cos\nsystem\nU\2ls\x85R."), ANEMO_ERR_UNSUPPORTED, "GLOBAL 0x63 at byte 0: refers to os.system"},
        {P("U\10builtinsU\4eval\x93."), ANEMO_ERR_UNSUPPORTED, "STACK_GLOBAL 0x93 at byte 16: refers to builtins.eval"},
        {P("ctorch\nloa\1d\n."), ANEMO_ERR_UNSUPPORTED, "refers to torch.loa?d"},
        {P("cos\nsystem"), ANEMO_ERR_FORMAT, "cut off"},
        {P("K\1K\2\x93."), ANEMO_ERR_FORMAT, "a global needs two strings"},
        {P("(ios\nsystem\n."), ANEMO_ERR_UNSUPPORTED, "INST 0x69 at byte 1"},
        {P("(o."), ANEMO_ERR_UNSUPPORTED, "OBJ 0x6f"},
        {P("P0\n."), ANEMO_ERR_UNSUPPORTED, "PERSID 0x50"},
        {P("\x82\1."), ANEMO_ERR_UNSUPPORTED, "EXT1 0x82"},
        {P("\x92."), ANEMO_ERR_UNSUPPORTED, "NEWOBJ_EX 0x92"},
        {P("\x97."), ANEMO_ERR_UNSUPPORTED, "NEXT_BUFFER 0x97"},
        {P("ctorch\nFloatStorage\n)R."), ANEMO_ERR_UNSUPPORTED, "torch.FloatStorage cannot be called"},
        {P("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\ndevice\nN)NtR."), ANEMO_ERR_UNSUPPORTED,
         "does not rebuild a tensor"},
        {P("ctorch._utils\n_rebuild_parameter\n)R."), ANEMO_ERR_FORMAT, "a parameter without its tensor"},
        {P("ccollections\nOrderedDict\nK\1\x85R."), ANEMO_ERR_FORMAT, "not those of a dictionary"},
        {P("K\1)R."), ANEMO_ERR_FORMAT, "a call needs a global and a tuple"},
        {P("]Nb."), ANEMO_ERR_UNSUPPORTED, "only a dictionary may have a state"},
        {P("h\0."), ANEMO_ERR_FORMAT, "nothing is remembered as 0"},
        {P("Nr\377\377\377\377."), ANEMO_ERR_FORMAT, "memo index 4294967295 is out of range"},
        {P("q\0."), ANEMO_ERR_FORMAT, "nothing to remember"},
        {P("K\1t."), ANEMO_ERR_FORMAT, "no mark"},
        {P("(K\1d."), ANEMO_ERR_FORMAT, "a key without a value"},
        {P("K\1\x87."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("NNs."), ANEMO_ERR_FORMAT, "no dictionary on the stack"},
        {P("N(Ne."), ANEMO_ERR_FORMAT, "no list on the stack"},
        {P("K\1Q."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\nFloatStorage\nU\1" "7U\3cpuK\4tQ."), ANEMO_ERR_FORMAT,
         "the archive has no storage a/data/7"},
        {P("]q\0h\0a."), ANEMO_ERR_FORMAT, "no dictionary of tensors"}, /* a list that holds itself */
        /* References that are no storage, each for one reason. */
        {P("(U\7stowagectorch\nFloatStorage\nU\1" "0NK\4tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(K\1ctorch\nFloatStorage\nU\1" "0NK\4tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storageNU\1" "0NK\4tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\ndevice\nU\1" "0NK\4tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\nFloatStorage\nK\0NK\4tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\nFloatStorage\nU\1" "0NNtQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\nFloatStorage\nU\1" "0NJ\377\377\377\377tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\nFloatStorage\nU\1" "0K\4tQ."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P("(U\7storagectorch\nFloatStorage\nU\x41" KEY_65 "NK\4tQ."), ANEMO_ERR_FORMAT, "the key of a storage is too long"},
        {P("(U\7storagectorch\nFloatStorage\nU\1" "0N\x8A\10\377\377\377\377\377\377\377\177tQ."), ANEMO_ERR_FORMAT,
         "the size of a storage overflows"},
        /* Arguments that are not those of a tensor. */
        {P(REBUILD "(NK\0K\1\x85K\1\x85tR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD "(" STORAGE("\4") "NK\1\x85K\1\x85tR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD "(" STORAGE("\4") "J\377\377\377\377K\1\x85K\1\x85tR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD "(" STORAGE("\4") "K\0NK\1\x85tR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD "(" STORAGE("\4") "K\0K\1\x85NtR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD "(" STORAGE("\4") "K\0tR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD "(" STORAGE("\4") "K\0N\x85K\1\x85tR."), ANEMO_ERR_FORMAT, "must not be negative"},
        {P(REBUILD "(" STORAGE("\4") "K\0K\1\x85N\x85tR."), ANEMO_ERR_FORMAT, "must not be negative"},
        {P(REBUILD "(" UNTYPED "K\0K\1\x85K\1\x85tR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD3 "(" UNTYPED "K\0K\4\x85K\1\x85\x89NNtR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P(REBUILD3 "(" UNTYPED "K\0K\4\x85K\1\x85\x89Nctorch\ndevice\ntR."), ANEMO_ERR_FORMAT, "not those of a tensor"},
        {P("}U\1w" REBUILD3 "(" UNTYPED "K\0K\4\x85K\1\x85\x89Nctorch\nfloat32\ntRs."), ANEMO_OK, ""},
        {P("}U\1w" REBUILD3 "(" UNTYPED "K\0K\5\x85K\1\x85\x89Nctorch\nfloat32\ntRs."), ANEMO_ERR_FORMAT,
         "reaches beyond its storage of 4 elements"},
        {P("}U\1w" FROM_TYPE "(" REBUILD "ctorch\nTensor\n(" STORAGE("\4") "K\0K\4\x85K\1\x85tNtRs."), ANEMO_OK, ""},
        {P(FROM_TYPE "(NN)NtR."), ANEMO_ERR_UNSUPPORTED, "does not rebuild a tensor"},
        {P(FROM_TYPE "(" REBUILD "NNNtR."), ANEMO_ERR_UNSUPPORTED, "does not rebuild a tensor"},
        {P(FROM_TYPE "(ccollections\nOrderedDict\nN)NtR."), ANEMO_ERR_UNSUPPORTED, "does not rebuild a tensor"},
        {P(FROM_TYPE ")R."), ANEMO_ERR_UNSUPPORTED, "does not rebuild a tensor"},
        {P("ctorch._utils\n_rebuild_parameter\nN\x85R."), ANEMO_ERR_FORMAT, "a parameter without its tensor"},
        /* Dictionaries of pairs, sets, calls that give nothing, memoized values. */
        {P("ccollections\nOrderedDict\n]U\1w" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tR\x86" "a\x85R."), ANEMO_OK, ""},
        {P("ccollections\nOrderedDict\n]K\1a\x85R."), ANEMO_ERR_FORMAT, "built of pairs"},
        {P("ccollections\nOrderedDict\n]K\1\x85" "a\x85R."), ANEMO_ERR_FORMAT, "built of pairs"},
        {P("ccollections\nOrderedDict\n]]a\x85R."), ANEMO_ERR_FORMAT, "built of pairs"},
        {P("ccollections\nOrderedDict\n]]\x86R."), ANEMO_ERR_FORMAT, "not those of a dictionary"},
        {P("}(U\1dctorch\ndevice\nU\3cpu\x85RU\1s\x8FU\1l](eU\1n\x8A\1\xFFU\1m\x8A\0u."), ANEMO_ERR_FORMAT,
         "no dictionary of tensors"},
        {P("\x80\4\x95\0\0\0\0\0\0\0\0]\x94j\0\0\0\0" "0."), ANEMO_ERR_FORMAT, "no dictionary of tensors"},
        {P("}(K\2s."), ANEMO_ERR_FORMAT, "a mark in the way"},
        {P("(s."), ANEMO_ERR_FORMAT, "no dictionary on the stack"},
        {P("}(Nu."), ANEMO_ERR_FORMAT, "a key without a value"},
        {P("0."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("1."), ANEMO_ERR_FORMAT, "no mark"},
        {P("e."), ANEMO_ERR_FORMAT, "no mark"},
        {P("R."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("NR."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("NNR."), ANEMO_ERR_FORMAT, "a call needs a global and a tuple"},
        {P("ctorch\ndevice\nNR."), ANEMO_ERR_FORMAT, "a call needs a global and a tuple"},
        {P("Q."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("b."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("Nb."), ANEMO_ERR_UNSUPPORTED, "only a dictionary may have a state"},
        {P("\x93."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("N\x93."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("U\1a" "N\x93."), ANEMO_ERR_FORMAT, "a global needs two strings"},
        {P("cos."), ANEMO_ERR_FORMAT, "cut off"},
        {P("\x8A"), ANEMO_ERR_FORMAT, "cut off"},
        {P("\x8A\4" "1"), ANEMO_ERR_FORMAT, "cut off"},
        {P("\x80"), ANEMO_ERR_FORMAT, "cut off"},
        {P("G1234"), ANEMO_ERR_FORMAT, "cut off"},
        {P("(\x85."), ANEMO_ERR_FORMAT, "the stack is empty"},
        {P("(q\0."), ANEMO_ERR_FORMAT, "nothing to remember"},
        /* Names of tensors, and where they may stand. */
        {P("}U\0" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tRs."), ANEMO_ERR_FORMAT, "empty or holds a NUL"},
        {P("}(U\1v" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tRU\1\0" REBUILD "(" STORAGE("\4")
           "K\0K\4\x85K\1\x85tRu."), ANEMO_ERR_FORMAT, "empty or holds a NUL"},
        {P("}(U\1w" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tRU\1w" REBUILD "(" STORAGE("\4")
           "K\0K\4\x85K\1\x85tRu."), ANEMO_ERR_FORMAT, "tensor w occurs twice"},
        {P("}(K\1" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tRU\1w" REBUILD "(" STORAGE("\4")
           "K\0K\4\x85K\1\x85tRU\1nNu."), ANEMO_OK, ""},
        {P("}(U\5modelNU\5otherNU\6module}U\5model}U\1w" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tRsu."), ANEMO_OK, ""},
        {P("}U\5other}U\1w" REBUILD "(" STORAGE("\4") "K\0K\4\x85K\1\x85tRss."), ANEMO_ERR_FORMAT, "no dictionary of tensors"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) {
        anemo_error err = {0};
        anemo_status status = open_pickle(CASES[i].pickle, CASES[i].n, &err);
        if (status != CASES[i].status || !strstr(err.message, CASES[i].message))
            fail_msg("pickle %zu: %s: %s, expected '%s'", i, anemo_status_name(status), err.message,
                     CASES[i].message);
    }
}

/* ---------------------------------------------------------------------------------------------------- bad streams */

#define MAGIC "\x80\2\x8A\12\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."
#define SYSTEM MAGIC "\x80\2M\xE9\3." "\x80\2}."
#define STREAM_STORAGE(class, key, n, view) "(U\7storagectorch\n" class "Storage\nU\1" key "U\3cpuK" n view "tQ"
#define STREAM_TENSOR(name, class, key, n, shape)                                                                      \
    "U\1" name "ctorch._utils\n_rebuild_tensor_v2\n(" STREAM_STORAGE(class, key, n, "N") "K\0K" shape "\x85K\1\x85\x89NtR"
#define ONE "\x80\2}" STREAM_TENSOR("w", "Float", "0", "\2", "\2") "s."
#define TWO_KEYS(a, b) "\x80\2](U\1" a "U\1" b "e."
#define KEY "\x80\2]U\1" "0a."
#define DATA "\2\0\0\0\0\0\0\0" "12345678"

static void test_bad_streams(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        anemo_status status;
        const char *message;
    } CASES[] = {
        {P(SYSTEM ONE KEY DATA), ANEMO_OK, ""},
        {P(MAGIC), ANEMO_ERR_FORMAT, "pickle ends at byte 15 without a stop"},
        {P(MAGIC "M\xE8\3."), ANEMO_ERR_UNSUPPORTED, "unknown protocol"},
        {P(MAGIC "M\xE9\3." "}U\15little_endian\x89s." ONE KEY DATA), ANEMO_ERR_UNSUPPORTED, "big-endian"},
        {P(SYSTEM "cos\nsystem\nU\2ls\x85R."), ANEMO_ERR_UNSUPPORTED, "GLOBAL 0x63 at byte 25: refers to os.system"},
        {P(SYSTEM "\x80\2}."), ANEMO_ERR_FORMAT, "without a stop"},
        {P(SYSTEM "\x80\2}." "]."), ANEMO_ERR_FORMAT, "no dictionary of tensors"},
        {P(SYSTEM ONE "}." DATA), ANEMO_ERR_FORMAT, "the list of storages is missing"},
        {P(SYSTEM ONE "]K\1a." DATA), ANEMO_ERR_FORMAT, "more than keys"},
        {P(SYSTEM ONE "]."), ANEMO_ERR_FORMAT, "storage 0 at byte"},
        {P(SYSTEM ONE "]U\1" "1a." DATA), ANEMO_ERR_FORMAT, "no tensor refers to it"},
        {P(SYSTEM ONE TWO_KEYS("0", "0") DATA DATA), ANEMO_ERR_FORMAT, "occurs twice"},
        {P(SYSTEM ONE KEY "\3\0\0\0\0\0\0\0" "123456789012"), ANEMO_ERR_FORMAT, "another number of elements"},
        {P(SYSTEM ONE KEY "\2\0\0\0"), ANEMO_ERR_FORMAT, "the file ends before it"},
        {P(SYSTEM ONE KEY "\2\0\0\0\0\0\0\0" "1234567"), ANEMO_ERR_FORMAT, "do not lie in the file"},
        {P(SYSTEM "\x80\2}U\1w" STREAM_STORAGE("Float", "0", "\2", "K\1") "s."), ANEMO_ERR_UNSUPPORTED,
         "a part of another one"},
        {P(SYSTEM "\x80\2}U\1w" STORAGE("\2") "s."), ANEMO_ERR_FORMAT, "the reference is no storage"},
        {P(SYSTEM "\x80\2}(" STREAM_TENSOR("v", "Float", "0", "\2", "\2") STREAM_TENSOR("w", "Half", "0", "\2", "\2")
           "u." KEY DATA), ANEMO_ERR_FORMAT, "disagree about its size"},
        {P(SYSTEM "\x80\2}U\1w(U\7storagectorch\nDoubleStorage\nU\1" "0U\3cpu\x8A\10\377\377\377\377\377\377\377\177NtQs."),
         ANEMO_ERR_FORMAT, "the size of a storage overflows"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) {
        anemo_error err = {0};
        an_str s = {0};
        an_str_append_bytes(&s, CASES[i].bytes, CASES[i].n);
        anemo_status status = open_copy(&s, &err);
        if (status != CASES[i].status || !strstr(err.message, CASES[i].message))
            fail_msg("stream %zu: %s: %s, expected '%s'", i, anemo_status_name(status), err.message, CASES[i].message);
        an_str_free(&s);
    }
}

/* --------------------------------------------------------------------------------------------------- bad archives */

/* Overwrite n bytes at `at` of the archive (counted from its end when negative) with v. */
typedef struct edit {
    long where;
    size_t n;
    uint64_t v;
    anemo_status status;
    const char *message;
} edit;

static void test_bad_archives(void **state)
{
    (void)state;
    static const char pickle[] = TENSOR("\4", "\0", "K\4\x85", "K\1\x85");
    const part parts[] = {{"a/data.pkl", pickle, sizeof pickle - 1}, {"a/data/0", "0123456789ABCDEF", 16}};
    an_str good = zip_of(parts, 2);
    anemo_error err;
    assert_ok(open_copy(&good, &err), &err);
    /* The last entry of the directory begins 22 + 46 + 8 bytes before the end. */
    enum { LAST = -(22 + 46 + 8) };
    static const edit EDITS[] = {
        {-22, 4, 0, ANEMO_ERR_FORMAT, "no end record"},
        {-2, 2, 1, ANEMO_ERR_FORMAT, "no end record"},
        {-18, 2, 1, ANEMO_ERR_UNSUPPORTED, "in several parts"},
        {-12, 2, 3, ANEMO_ERR_FORMAT, "does not fit the directory"},
        {-12, 2, 0, ANEMO_ERR_FORMAT, "does not fit the directory"},
        {-10, 4, 0xFFFFFF, ANEMO_ERR_FORMAT, "outside the file"},
        {-6, 4, 0xFFFFFF, ANEMO_ERR_FORMAT, "outside the file"},
        {-6, 4, 0, ANEMO_ERR_FORMAT, "entry is cut off"},
        {LAST + 8, 2, 1, ANEMO_ERR_UNSUPPORTED, "a/data/0 is encrypted"},
        {LAST + 10, 2, 8, ANEMO_ERR_UNSUPPORTED, "a/data/0 is compressed (method 8)"},
        {LAST + 24, 4, 0x7FFFFFFF, ANEMO_ERR_FORMAT, "has two sizes, 16 and 2147483647"},
        {LAST + 20, 8, 0x1000000011, ANEMO_ERR_FORMAT, "has two sizes, 17 and 16"},
        {LAST + 20, 8, 0x0000FFFF0000FFFF, ANEMO_ERR_FORMAT, "do not lie in the file"},
        {LAST + 20, 8, 0xFFFFFFFFFFFFFFFF, ANEMO_ERR_FORMAT, "lacks its 64-bit sizes"},
        {LAST + 42, 4, 5, ANEMO_ERR_FORMAT, "points to no entry, at byte 5"},
        {LAST + 42, 4, 0x7FFFFFFF, ANEMO_ERR_FORMAT, "points to no entry"},
        {LAST + 42, 4, 0, ANEMO_ERR_FORMAT, "has another name before its data"},
        {LAST + 28, 2, 0xFFFF, ANEMO_ERR_FORMAT, "entry is cut off"},
        {LAST + 30, 2, 0xFFFF, ANEMO_ERR_FORMAT, "entry is cut off"},
        {LAST + 28, 2, 0, ANEMO_ERR_FORMAT, "no plain name"},
        {LAST + 46, 1, '/', ANEMO_ERR_FORMAT, "leads out of the archive"},
        {LAST + 46, 3, 0x2F2E2E, ANEMO_ERR_FORMAT, "leads out of the archive"},
        {LAST + 47, 1, '\\', ANEMO_ERR_FORMAT, "leads out of the archive"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(EDITS); i++) {
        const edit *e = &EDITS[i];
        an_str bad = {0};
        an_str_append_bytes(&bad, good.data, good.len);
        memcpy(bad.data + (long)bad.len + e->where, &e->v, e->n);
        err.message[0] = '\0';
        anemo_status status = open_copy(&bad, &err);
        if (status != e->status || !strstr(err.message, e->message))
            fail_msg("edit %zu: %s: %s, expected '%s'", i, anemo_status_name(status), err.message,
                     e->message);
        an_str_free(&bad);
    }
    /* Cut anywhere, it is no archive. */
    for (size_t n = 0; n < good.len; n++) {
        an_str cut = {0};
        an_str_append_bytes(&cut, good.data, n);
        assert_int_equal(open_copy(&cut, &err), ANEMO_ERR_FORMAT);
        an_str_free(&cut);
    }
    an_str_free(&good);
}

/* Entries inside entries, and the 64-bit sizes of the central directory. */
static void test_more_archives(void **state)
{
    (void)state;
    static const char pickle[] = TENSOR("\4", "\0", "K\4\x85", "K\1\x85");
    anemo_error err;
    an_str inner = {0};
    put(&inner, 0x04034B50, 4);
    an_str_append_repeat(&inner, '\0', 22);
    put(&inner, 8, 2);
    put(&inner, 0, 2);
    an_str_append(&inner, "a/data/0");
    an_str_append(&inner, "0123456789ABCDEF");
    const part parts[] = {{"a/data.pkl", pickle, sizeof pickle - 1}, {"a/x", inner.data, inner.len},
                          {"a/data/0", "0123456789ABCDEF", 16}};
    an_str s = zip_of(parts, 3);
    assert_ok(open_copy(&s, &err), &err);
    /* The last entry now points into the data of the one before. */
    uint32_t offset = (uint32_t)(30 + 10 + sizeof pickle - 1 + 30 + 3);
    memcpy(s.data + s.len - (22 + 46 + 8) + 42, &offset, 4);
    assert_fails(open_copy(&s, &err), &err, ANEMO_ERR_FORMAT, "entry a/data/0 overlaps another");
    an_str_free(&s);
    an_str_free(&inner);

    /* The size of the last entry moves into an extra field of 12 or 20 bytes, after another extra field. */
    for (int wrong = 0; wrong < 3; wrong++) {
        an_str z = zip_of(parts, 1), t = {0}, last = zip_of(&parts[2], 1);
        size_t first = z.len - 22 - 46 - 10; /* data of the first, its directory entry follows */
        an_str_append_bytes(&t, z.data, first);
        size_t at_last = t.len;
        an_str_append_bytes(&t, last.data, 30 + 8 + 16);
        size_t at_central = t.len;
        an_str_append_bytes(&t, z.data + first, 46 + 10);
        size_t entry = t.len;
        an_str_append_bytes(&t, last.data + 30 + 8 + 16, 46 + 8);
        uint16_t extra = (uint16_t)(5 + 20);
        uint32_t full = UINT32_MAX, where = (uint32_t)at_last;
        memcpy(t.data + entry + 20, &full, 4);
        memcpy(t.data + entry + 24, &full, 4);
        memcpy(t.data + entry + 30, &extra, 2);
        memcpy(t.data + entry + 42, &where, 4);
        put(&t, 7, 2);
        put(&t, 1, 2);
        put(&t, 0, 1);
        put(&t, wrong == 2 ? 9 : 1, 2);
        put(&t, wrong == 1 ? 8 : 16, 2);
        put(&t, 16, 8);
        put(&t, 16, 8);
        size_t n_central = t.len - at_central;
        put(&t, 0x06054B50, 4);
        put(&t, 0, 4);
        put(&t, 2, 2);
        put(&t, 2, 2);
        put(&t, n_central, 4);
        put(&t, at_central, 4);
        put(&t, 0, 2);
        if (wrong)
            assert_fails(open_copy(&t, &err), &err, ANEMO_ERR_FORMAT, "entry a/data/0 lacks its 64-bit sizes");
        else
            assert_ok(open_copy(&t, &err), &err);
        an_str_free(&z);
        an_str_free(&t);
        an_str_free(&last);
    }
}

static void test_bad_sets(void **state)
{
    (void)state;
    static const char pickle[] = TENSOR("\4", "\0", "K\4\x85", "K\1\x85");
    const part good = {"a/data.pkl", pickle, sizeof pickle - 1};
    const part sets[][3] = {
        {{"a/x", "x", 1}, {"a/data/0", "", 0}, {"a/y", "", 0}},
        {good, good, {"a/y", "", 0}},
        {good, {"a/byteorder", "big", 3}, {"a/y", "", 0}},
        {good, {"a/constants.pkl", "", 0}, {"a/y", "", 0}},
        {good, {"a/code/m.py", "", 0}, {"a/y", "", 0}},
    };
    static const char *const messages[] = {"no data.pkl", "a/data.pkl occurs twice", "big-endian",
                                           "TorchScript", "TorchScript"};
    for (size_t i = 0; i < AN_COUNT_OF(sets); i++) {
        anemo_error err = {0};
        an_str s = zip_of(sets[i], 3);
        if (open_copy(&s, &err) == ANEMO_OK || !strstr(err.message, messages[i]))
            fail_msg("set %zu: '%s', expected '%s'", i, err.message, messages[i]);
        an_str_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),        cmocka_unit_test(test_whole_kinds),
        cmocka_unit_test(test_bad_pickles),  cmocka_unit_test(test_bad_archives),
        cmocka_unit_test(test_bad_sets),     cmocka_unit_test(test_stream),
        cmocka_unit_test(test_bad_streams),  cmocka_unit_test(test_more_archives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

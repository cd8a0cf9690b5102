/* Opening GGUF: every rule that a later reader relies on is checked here, once, before anything is
 * handed out. */
#include "format/gguf_internal.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEYS_MAX = 1 << 18,
    TENSORS_MAX = 1 << 18,
    SHARDS_MAX = 4096,
    STRINGS_MAX =
        1 << 24, /* of one array: each must be walked, and a sparse file could hold any number */
    KEY_BYTES_MAX = 65535,
    NAME_BYTES_MAX = 63,
    DIMS_MAX = 4,
    KV_BYTES_MIN = 8 + 1 + 4 + 1,         /* key of one byte, type, value of one byte */
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 4 + 8, /* name of one byte, dimensions, type, offset */
    DEFAULT_ALIGNMENT = 32,
};
#define STRING_BYTES_MAX (UINT64_C(1) << 30)

/* Block sizes of ggml's types, ours or not, so that every tensor's range can be checked. By type
 * id. */
static const struct {
    uint16_t elems, bytes;
} blocks[] = {
    [0] = {1, 4},      [1] = {1, 2},      [2] = {32, 18},    [3] = {32, 20},    [6] = {32, 22},
    [7] = {32, 24},    [8] = {32, 34},    [9] = {32, 36},    [10] = {256, 84},  [11] = {256, 110},
    [12] = {256, 144}, [13] = {256, 176}, [14] = {256, 210}, [15] = {256, 292}, [16] = {256, 66},
    [17] = {256, 74},  [18] = {256, 98},  [19] = {256, 50},  [20] = {32, 18},   [21] = {256, 110},
    [22] = {256, 82},  [23] = {256, 136}, [24] = {1, 1},     [25] = {1, 2},     [26] = {1, 4},
    [27] = {1, 8},     [28] = {1, 8},     [29] = {256, 56},  [30] = {1, 2},     [34] = {256, 54},
    [35] = {256, 66},  [39] = {32, 17},   [40] = {64, 36},   [41] = {128, 18},  [42] = {64, 18},
};

/* ids that once had a meaning: their files must be made anew. */
static bool is_retired(uint32_t id)
{
    return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

/* A failure at a byte of a file: "path: at byte N: text". */
static anemo_status bad_at(const gguf_shard *s, uint64_t at, anemo_error *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static anemo_status bad_at(const gguf_shard *s, uint64_t at, anemo_error *err, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: at byte %" PRIu64 ": %s", s->path, at, text);
}

static anemo_status no_memory(const gguf_shard *s, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory while reading the metadata", s->path);
}

/* A string: length and bytes, of which at most `max` and at least `min` are allowed. `what` is for
 * the message. */
static anemo_status read_string(const gguf_shard *s, an_reader *r, uint64_t min, uint64_t max,
                                const char *what, an_bytes *out, anemo_error *err)
{
    uint64_t at = r->pos, len;
    if (!an_read_u64(r, &len))
        return bad_at(s, at, err, "the file ends inside the length of %s", what);
    if (len < min || len > max)
        return bad_at(s, at, err,
                      "%s has a length of %" PRIu64 ", expected %" PRIu64 " to %" PRIu64, what, len,
                      min, max);
    if (len > an_reader_left(r))
        return bad_at(s, at, err,
                      "%s has a length of %" PRIu64 " but only %" PRIu64 " bytes are left", what,
                      len, an_reader_left(r));
    *out = (an_bytes){an_read_view(r, len), len};
    return ANEMO_OK;
}

static anemo_status read_header(gguf_shard *s, an_reader *r, anemo_error *err)
{
    const void *magic = an_read_view(r, 4);
    if (!magic || memcmp(magic, "GGUF", 4))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: not a GGUF file (the first four bytes are not GGUF)", s->path);
    if (!an_read_u32(r, &s->version)) return bad_at(s, 4, err, "the file ends inside the version");
    if (s->version != 0 && (s->version & 0xFFFF) == 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: a big-endian GGUF file; convert it to little-endian first", s->path);
    if (s->version != 2 && s->version != 3)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: GGUF version %" PRIu32 "; versions 2 and 3 can be read", s->path,
                       s->version);
    if (!an_read_u64(r, &s->n_tensor) || !an_read_u64(r, &s->n_kv))
        return bad_at(s, r->pos, err, "the file ends inside the header");
    uint64_t left = an_reader_left(r);
    if (s->n_tensor > TENSORS_MAX || s->n_tensor > left / TENSOR_BYTES_MIN)
        return bad_at(s, 8, err, "a tensor count of %" PRIu64 " is more than the file can hold",
                      s->n_tensor);
    if (s->n_kv > KEYS_MAX || s->n_kv > left / KV_BYTES_MIN)
        return bad_at(s, 16, err, "a key count of %" PRIu64 " is more than the file can hold",
                      s->n_kv);
    return ANEMO_OK;
}

static anemo_status read_array(const gguf_shard *s, an_reader *r, an_gguf_kv *kv, const char *key,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t at = r->pos, bytes;
    uint32_t elem;
    if (!an_read_u32(r, &elem) || !an_read_u64(r, &kv->n))
        return bad_at(s, at, err, "the file ends inside the array %s", key);
    if (elem >= AN_GGUF_TYPE_N)
        return bad_at(s, at, err, "the array %s has the unknown element type %" PRIu32, key, elem);
    if (elem == AN_GGUF_ARRAY)
        return bad_at(s, at, err, "%s is an array of arrays, which is not supported", key);
    uint64_t elem_bytes = elem == AN_GGUF_STRING ? 8 : an_gguf_type_bytes(elem);
    if (kv->n > an_reader_left(r) / elem_bytes)
        return bad_at(s, at + 4, err,
                      "the array %s has %" PRIu64 " elements but only %" PRIu64 " bytes are left",
                      key, kv->n, an_reader_left(r));
    kv->elem_type = (an_gguf_type)elem;
    uint64_t start = r->pos;
    kv->value = r->data + start;
    if (elem == AN_GGUF_STRING && kv->n > STRINGS_MAX)
        return bad_at(s, at + 4, err,
                      "the array %s has %" PRIu64 " strings, at most %d are allowed", key, kv->n,
                      STRINGS_MAX);
    if (elem == AN_GGUF_STRING) {
        char what[140];
        snprintf(what, sizeof what, "a string of %s", key);
        for (uint64_t i = 0; i < kv->n; i++) {
            an_bytes text;
            AN_TRY(read_string(s, r, 0, STRING_BYTES_MAX, what, &text, err));
        }
    } else {
        bytes = kv->n * elem_bytes; /* cannot overflow: bounded by the bytes left */
        AN_ASSERT(an_read_view(r, bytes) != NULL);
    }
    kv->value_bytes = r->pos - start;
cleanup:
    return status;
}

static anemo_status read_kv(const gguf_shard *s, an_reader *r, an_gguf_kv *kv, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint32_t type;
    kv->offset = r->pos;
    AN_TRY(read_string(s, r, 1, KEY_BYTES_MAX, "a key", &kv->key, err));
    gguf_text key = an_gguf_quote(kv->key.data, kv->key.len);
    if (memchr(kv->key.data, 0, (size_t)kv->key.len)) {
        status = bad_at(s, kv->offset, err, "the key %s holds a zero byte", key.text);
        goto cleanup;
    }
    uint64_t at = r->pos;
    if (!an_read_u32(r, &type)) {
        status = bad_at(s, at, err, "the file ends inside the type of %s", key.text);
        goto cleanup;
    }
    if (type >= AN_GGUF_TYPE_N) {
        status = bad_at(s, at, err, "%s has the unknown value type %" PRIu32, key.text, type);
        goto cleanup;
    }
    kv->type = (an_gguf_type)type;
    kv->n = 1;
    if (type == AN_GGUF_ARRAY) {
        AN_TRY(read_array(s, r, kv, key.text, err));
    } else if (type == AN_GGUF_STRING) {
        char what[140];
        an_bytes text;
        snprintf(what, sizeof what, "the string %s", key.text);
        AN_TRY(read_string(s, r, 0, STRING_BYTES_MAX, what, &text, err));
        kv->value = text.data;
        kv->value_bytes = text.len;
    } else {
        kv->value_bytes = an_gguf_type_bytes(type);
        kv->value = an_read_view(r, kv->value_bytes);
        if (!kv->value) {
            status = bad_at(s, r->pos, err, "the file ends inside the value of %s", key.text);
            goto cleanup;
        }
    }
cleanup:
    return status;
}

static anemo_status read_alignment(gguf_shard *s, anemo_error *err)
{
    const an_gguf_kv *kv = an_gguf_shard_find(s, "general.alignment");
    s->alignment = DEFAULT_ALIGNMENT;
    if (!kv) return ANEMO_OK;
    if (kv->type != AN_GGUF_U32)
        return bad_at(s, kv->offset, err, "general.alignment must be u32, it is of type %s",
                      an_gguf_type_name(kv->type));
    uint64_t a = an_load_u32(kv->value);
    if (a < 8 || (a & (a - 1)))
        return bad_at(s, kv->offset, err,
                      "general.alignment is %" PRIu64 ", expected a power of two of at least 8", a);
    s->alignment = a;
    return ANEMO_OK;
}

static anemo_status read_kvs(gguf_shard *s, an_reader *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    s->kv = an_calloc((size_t)s->n_kv, sizeof *s->kv);
    s->kv_index = an_calloc((size_t)s->n_kv, sizeof *s->kv_index);
    if (!s->kv || !s->kv_index) return no_memory(s, err);
    for (uint64_t i = 0; i < s->n_kv; i++) {
        AN_TRY(read_kv(s, r, &s->kv[i], err));
        s->kv_index[i] = (an_name_entry){s->kv[i].key.data, s->kv[i].key.len, (size_t)i};
    }
    const an_name_entry *twice = an_name_index_sort(s->kv_index, (size_t)s->n_kv);
    if (twice) {
        status = bad_at(s, s->kv[twice->idx].offset, err, "the key %s occurs twice",
                        an_gguf_quote(twice->name, twice->len).text);
        goto cleanup;
    }
    AN_TRY(read_alignment(s, err));
cleanup:
    return status;
}

/* Shape and size of a tensor: dimensions of at least 1, rows of whole blocks, no overflow. */
static anemo_status read_shape(const gguf_shard *s, an_reader *r, an_gguf_tensor *t,
                               anemo_error *err)
{
    uint64_t at = r->pos, dims[DIMS_MAX] = {1, 1, 1, 1}, elems = 1;
    uint32_t n_dim;
    if (!an_read_u32(r, &n_dim))
        return bad_at(s, at, err, "the file ends inside the tensor %s", t->name);
    if (n_dim > DIMS_MAX)
        return bad_at(s, at, err, "the tensor %s has %" PRIu32 " dimensions, at most 4 are allowed",
                      t->name, n_dim);
    for (uint32_t i = 0; i < n_dim; i++) {
        at = r->pos;
        if (!an_read_u64(r, &dims[i]))
            return bad_at(s, at, err, "the file ends inside the dimensions of the tensor %s",
                          t->name);
        if (dims[i] == 0) return bad_at(s, at, err, "the tensor %s has a dimension of 0", t->name);
        if (!an_mul_u64(elems, dims[i], &elems) || elems > INT64_MAX)
            return bad_at(s, at, err, "the number of elements of the tensor %s overflows", t->name);
    }
    t->n_dim = n_dim ? (int)n_dim : 1; /* a scalar is a vector of one */
    for (int i = 0; i < t->n_dim; i++)
        t->shape[i] = (int64_t)dims[t->n_dim - 1 - i];
    at = r->pos;
    if (!an_read_u32(r, &t->ggml_type) || !an_read_u64(r, &t->offset))
        return bad_at(s, at, err, "the file ends inside the tensor %s", t->name);
    if (is_retired(t->ggml_type))
        return bad_at(s, at, err,
                      "the tensor %s has the retired type %" PRIu32
                      "; quantize the model again with a current llama.cpp",
                      t->name, t->ggml_type);
    if (t->ggml_type >= AN_COUNT_OF(blocks) || !blocks[t->ggml_type].elems)
        return bad_at(s, at, err, "the tensor %s has the unknown type %" PRIu32, t->name,
                      t->ggml_type);
    uint64_t block = blocks[t->ggml_type].elems;
    if (dims[0] % block)
        return bad_at(s, at, err,
                      "a row of the tensor %s has %" PRIu64
                      " elements, not a multiple of the %" PRIu64 " of its type %s",
                      t->name, dims[0], block, an_ggml_type_name(t->ggml_type));
    if (!an_mul_u64(elems / block, blocks[t->ggml_type].bytes, &t->bytes) || t->bytes > INT64_MAX)
        return bad_at(s, at, err, "the size of the tensor %s overflows", t->name);
    if (!an_dtype_from_ggml(t->ggml_type, &t->dtype)) t->dtype = AN_DTYPE_OTHER;
    return ANEMO_OK;
}

static int cmp_offset(const void *pa, const void *pb)
{
    const an_gguf_tensor *const *a = pa, *const *b = pb;
    if ((*a)->offset != (*b)->offset) return (*a)->offset < (*b)->offset ? -1 : 1;
    return *a < *b ? -1 : *a > *b;
}

/* The tensors of one shard stand in t[0..n): make offsets absolute, check ranges and overlaps. */
static anemo_status place_tensors(const gguf_shard *s, an_gguf_tensor *t, uint64_t infos_end,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n = (size_t)s->n_tensor;
    uint64_t start, end;
    const an_gguf_tensor **order = NULL;
    if (n == 0) return ANEMO_OK;
    if (!an_align_up_u64(infos_end, s->alignment, &start))
        return bad_at(s, infos_end, err, "the start of the tensor data overflows");
    for (size_t i = 0; i < n; i++) {
        if (t[i].offset % s->alignment)
            return bad_at(s, infos_end, err,
                          "the offset %" PRIu64 " of the tensor %s is no multiple of the "
                          "alignment %" PRIu64,
                          t[i].offset, t[i].name, s->alignment);
        if (!an_add_u64(start, t[i].offset, &t[i].offset) ||
            !an_add_u64(t[i].offset, t[i].bytes, &end) || end > s->size)
            return bad_at(s, infos_end, err,
                          "the tensor %s (%" PRIu64 " bytes at offset %" PRIu64
                          ") ends beyond the file of %" PRIu64
                          " bytes; the download may be incomplete",
                          t[i].name, t[i].bytes, t[i].offset, s->size);
        t[i].data = s->data + t[i].offset;
    }
    order = an_calloc(n, sizeof *order);
    if (!order) return no_memory(s, err);
    for (size_t i = 0; i < n; i++)
        order[i] = &t[i];
    qsort(order, n, sizeof *order, cmp_offset);
    for (size_t i = 1; i < n; i++) {
        if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset) {
            status = bad_at(s, order[i]->offset, err, "the tensors %s and %s overlap",
                            order[i - 1]->name, order[i]->name);
            break;
        }
    }
    an_free(order);
    return status;
}

static anemo_status read_tensors(an_gguf *g, int shard, an_reader *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    gguf_shard *s = &g->shards[shard];
    size_t n = (size_t)s->n_tensor;
    if (n > TENSORS_MAX - g->n_tensor)
        return bad_at(s, 8, err, "the split set has more than %d tensors", TENSORS_MAX);
    s->names = an_calloc(n, sizeof *s->names);
    an_gguf_tensor *grown = an_realloc(g->tensors, (g->n_tensor + n) * sizeof *grown);
    if (grown) g->tensors = grown;
    if (!grown || !s->names) return no_memory(s, err);
    for (size_t i = 0; i < n; i++) {
        an_bytes name;
        uint64_t at = r->pos;
        an_gguf_tensor *t = &g->tensors[g->n_tensor + i];
        *t = (an_gguf_tensor){.name = s->names[i], .shard = shard};
        AN_TRY(read_string(s, r, 1, NAME_BYTES_MAX, "a tensor name", &name, err));
        for (uint64_t k = 0; k < name.len; k++) {
            unsigned char c = (unsigned char)name.data[k];
            if (c < 0x20 || c == 0x7F) {
                status = bad_at(s, at, err, "the tensor name %s holds a control character",
                                an_gguf_quote(name.data, name.len).text);
                goto cleanup;
            }
        }
        memcpy(s->names[i], name.data, (size_t)name.len);
        AN_TRY(read_shape(s, r, t, err));
    }
    AN_TRY(place_tensors(s, g->tensors + g->n_tensor, r->pos, err));
    g->n_tensor += n;
cleanup:
    return status;
}

/* Everything of one file whose bytes are in place. */
static anemo_status parse_shard(an_gguf *g, int shard, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    gguf_shard *s = &g->shards[shard];
    an_reader r = {s->data, s->size, 0};
    AN_TRY(read_header(s, &r, err));
    AN_TRY(read_kvs(s, &r, err));
    AN_TRY(read_tensors(g, shard, &r, err));
cleanup:
    return status;
}

static anemo_status index_tensors(an_gguf *g, anemo_error *err)
{
    g->tensor_index = an_calloc(g->n_tensor, sizeof *g->tensor_index);
    if (!g->tensor_index) return no_memory(&g->shards[0], err);
    for (size_t i = 0; i < g->n_tensor; i++)
        g->tensor_index[i] = (an_name_entry){g->tensors[i].name, strlen(g->tensors[i].name), i};
    const an_name_entry *twice = an_name_index_sort(g->tensor_index, g->n_tensor);
    if (twice)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the tensor %s occurs twice",
                       g->shards[g->tensors[twice->idx].shard].path, twice->name);
    return ANEMO_OK;
}

/* An integer among the split keys of a shard; -1 when absent. */
static anemo_status split_key(const gguf_shard *s, const char *key, int64_t *out, anemo_error *err)
{
    const an_gguf_kv *kv = an_gguf_shard_find(s, key);
    *out = -1;
    if (!kv) return ANEMO_OK;
    if (!an_gguf_kv_i64(kv, out) || *out < 0)
        return bad_at(s, kv->offset, err, "%s must be a whole number", key);
    return ANEMO_OK;
}

/* Length of the part of `path` before "-00001-of-00003.gguf", or 0 when its end is not of that
 * form. */
static size_t split_prefix(const char *path, int *no, int *count)
{
    size_t len = strlen(path), tail = sizeof "-00001-of-00003.gguf" - 1;
    if (len <= tail) return 0;
    const char *p = path + len - tail;
    if (p[0] != '-' || memcmp(p + 6, "-of-", 4) || strcmp(p + 15, ".gguf")) return 0;
    *no = *count = 0;
    for (int i = 0; i < 5; i++) {
        if (p[1 + i] < '0' || p[1 + i] > '9' || p[10 + i] < '0' || p[10 + i] > '9') return 0;
        *no = *no * 10 + (p[1 + i] - '0');
        *count = *count * 10 + (p[10 + i] - '0');
    }
    return len - tail;
}

/* The shards beside the first one. Their number is in split.count of the first. */
static anemo_status open_split(an_gguf *g, int64_t count, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    gguf_shard *first = &g->shards[0];
    int no, name_count;
    int64_t n_tensor, v;
    size_t prefix = split_prefix(first->path, &no, &name_count);
    AN_TRY(split_key(first, "split.no", &v, err));
    if (v > 0 || (prefix && no != 1)) {
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "%s: part %" PRId64
                         " of a split model; give the first part (…-00001-of-%05" PRId64 ".gguf)",
                         first->path, v + 1, count);
        goto cleanup;
    }
    if (count > SHARDS_MAX) {
        status =
            an_fail(err, ANEMO_ERR_FORMAT, "%s: split.count is %" PRId64 ", at most %d is allowed",
                    first->path, count, SHARDS_MAX);
        goto cleanup;
    }
    if (!prefix || name_count != count) {
        status = an_fail(err, ANEMO_ERR_FORMAT,
                         "%s: one of %" PRId64
                         " parts, but its name does not end in -00001-of-%05" PRId64
                         ".gguf, so the others cannot be found",
                         first->path, count, count);
        goto cleanup;
    }
    gguf_shard *shards = an_realloc(g->shards, (size_t)count * sizeof *shards);
    if (!shards) {
        status = no_memory(first, err);
        goto cleanup;
    }
    memset(shards + 1, 0, (size_t)(count - 1) * sizeof *shards);
    g->shards = shards;
    for (int i = 1; i < count; i++) {
        gguf_shard *s = &g->shards[i];
        s->path = an_malloc(prefix + 40);
        if (!s->path) {
            status = no_memory(&g->shards[0], err);
            goto cleanup;
        }
        g->n_shard = i + 1;
        memcpy(s->path, g->shards[0].path, prefix);
        snprintf(s->path + prefix, 40, "-%05d-of-%05" PRId64 ".gguf", i + 1, count);
        status = an_file_map_open(&s->map, s->path, err);
        if (status != ANEMO_OK) {
            status = an_fail_prefix(err, status, "part %d of %" PRId64 " of a split model", i + 1,
                                    count);
            goto cleanup;
        }
        s->data = s->map.data;
        s->size = s->map.size;
        AN_TRY(parse_shard(g, i, err));
        int64_t shard_no, shard_count;
        AN_TRY(split_key(s, "split.no", &shard_no, err));
        AN_TRY(split_key(s, "split.count", &shard_count, err));
        if (shard_no != i || shard_count != count) {
            status = an_fail(err, ANEMO_ERR_FORMAT,
                             "%s: says it is part %" PRId64 " of %" PRId64
                             ", expected part %d of %" PRId64,
                             s->path, shard_no + 1, shard_count, i + 1, count);
            goto cleanup;
        }
    }
    AN_TRY(split_key(&g->shards[0], "split.tensors.count", &n_tensor, err));
    if (n_tensor >= 0 && (uint64_t)n_tensor != g->n_tensor)
        status = an_fail(err, ANEMO_ERR_FORMAT,
                         "%s: the parts hold %zu tensors, split.tensors.count says %" PRId64,
                         g->shards[0].path, g->n_tensor, n_tensor);
cleanup:
    return status;
}

/* Open the first shard's bytes (mapped when data is NULL), then the rest of its set. */
static anemo_status open_set(an_gguf **out, const char *path, const void *data, uint64_t size,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int64_t count;
    an_gguf *g = an_calloc(1, sizeof *g);
    if (!g) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    g->shards = an_calloc(1, sizeof *g->shards);
    if (!g->shards || !(g->shards[0].path = an_strdup(path))) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    g->n_shard = 1;
    gguf_shard *s = &g->shards[0];
    if (data) {
        s->data = data;
        s->size = size;
    } else {
        AN_TRY(an_file_map_open(&s->map, path, err));
        s->data = s->map.data;
        s->size = s->map.size;
    }
    AN_TRY(parse_shard(g, 0, err));
    AN_TRY(split_key(&g->shards[0], "split.count", &count, err));
    if (count > 1 && data) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED,
                         "%s: one of %" PRId64 " parts of a split model cannot be read alone", path,
                         count);
        goto cleanup;
    }
    if (count > 1) AN_TRY(open_split(g, count, err));
    AN_TRY(index_tensors(g, err));
    *out = g;
cleanup:
    if (status != ANEMO_OK) an_gguf_close(g);
    return status;
}

anemo_status an_gguf_open(an_gguf **out, const char *path, anemo_error *err)
{
    return open_set(out, path, NULL, 0, err);
}

anemo_status an_gguf_open_bytes(an_gguf **out, const void *data, uint64_t size, const char *name,
                                anemo_error *err)
{
    return open_set(out, name, data ? data : "", data ? size : 0, err);
}

void an_gguf_close(an_gguf *g)
{
    if (!g) return;
    for (int i = 0; i < g->n_shard; i++) {
        gguf_shard *s = &g->shards[i];
        an_file_unmap(&s->map);
        an_free(s->path);
        an_free(s->kv);
        an_free(s->kv_index);
        an_free(s->names);
    }
    an_free(g->shards);
    an_free(g->tensors);
    an_free(g->tensor_index);
    an_free(g);
}

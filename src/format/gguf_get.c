/* Getters of the GGUF reader: keys, typed values, arrays, tensors. Everything here was checked at
 * open. */
#include "format/gguf_internal.h"

#include "base/bytes.h"
#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const struct {
    const char *name;
    uint64_t bytes;
} types[AN_GGUF_TYPE_N] = {
    [AN_GGUF_U8] = {"u8", 1},       [AN_GGUF_I8] = {"i8", 1},     [AN_GGUF_U16] = {"u16", 2},
    [AN_GGUF_I16] = {"i16", 2},     [AN_GGUF_U32] = {"u32", 4},   [AN_GGUF_I32] = {"i32", 4},
    [AN_GGUF_F32] = {"f32", 4},     [AN_GGUF_BOOL] = {"bool", 1}, [AN_GGUF_STRING] = {"string", 0},
    [AN_GGUF_ARRAY] = {"array", 0}, [AN_GGUF_U64] = {"u64", 8},   [AN_GGUF_I64] = {"i64", 8},
    [AN_GGUF_F64] = {"f64", 8},
};

uint64_t an_gguf_type_bytes(uint32_t type)
{
    return type < AN_GGUF_TYPE_N ? types[type].bytes : 0;
}

const char *an_gguf_type_name(an_gguf_type type)
{
    return (unsigned)type < AN_GGUF_TYPE_N ? types[type].name : "unknown";
}

gguf_text an_gguf_quote(const char *data, uint64_t len)
{
    gguf_text out = {{0}};
    size_t n = 0;
    for (uint64_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (n > sizeof out.text - 10) {
            snprintf(out.text + n, 4, "...");
            break;
        }
        if (c >= 0x20 && c != 0x7F && c < 0x80)
            out.text[n++] = (char)c;
        else
            n += (size_t)snprintf(out.text + n, 5, "\\x%02x", c);
    }
    return out;
}

/* The integer at p; u64 above INT64_MAX is refused. */
static bool load_int(an_gguf_type type, const void *p, int64_t *out)
{
    const unsigned char *b = p;
    uint64_t u;
    switch (type) {
    case AN_GGUF_U8:
        *out = b[0];
        return true;
    case AN_GGUF_I8:
        *out = (int8_t)b[0];
        return true;
    case AN_GGUF_U16:
        *out = an_load_u16(p);
        return true;
    case AN_GGUF_I16:
        *out = (int16_t)an_load_u16(p);
        return true;
    case AN_GGUF_U32:
        *out = an_load_u32(p);
        return true;
    case AN_GGUF_I32:
        *out = (int32_t)an_load_u32(p);
        return true;
    case AN_GGUF_I64:
        *out = (int64_t)an_load_u64(p);
        return true;
    case AN_GGUF_U64:
        u = an_load_u64(p);
        *out = (int64_t)u;
        return u <= INT64_MAX;
    default:
        return false;
    }
}

static double load_f64(const void *p)
{
    double d;
    memcpy(&d, p, 8);
    return d;
}

bool an_gguf_kv_i64(const an_gguf_kv *kv, int64_t *out)
{
    return load_int(kv->type, kv->value, out);
}

const an_gguf_kv *an_gguf_shard_find(const gguf_shard *s, const char *key)
{
    size_t i = an_name_index_find(s->kv_index, (size_t)s->n_kv, key, strlen(key));
    return i == SIZE_MAX ? NULL : &s->kv[i];
}

const char *an_gguf_path(const an_gguf *g)
{
    return g->shards[0].path;
}

uint32_t an_gguf_version(const an_gguf *g)
{
    return g->shards[0].version;
}

uint64_t an_gguf_alignment(const an_gguf *g)
{
    return g->shards[0].alignment;
}

int an_gguf_n_shard(const an_gguf *g)
{
    return g->n_shard;
}

const an_file_map *an_gguf_shard_map(const an_gguf *g, int i)
{
    return &g->shards[i].map;
}

uint64_t an_gguf_file_bytes(const an_gguf *g)
{
    uint64_t sum = 0;
    for (int i = 0; i < g->n_shard; i++)
        sum += g->shards[i].size;
    return sum;
}

size_t an_gguf_n_kv(const an_gguf *g)
{
    return (size_t)g->shards[0].n_kv;
}

const an_gguf_kv *an_gguf_kv_at(const an_gguf *g, size_t i)
{
    return &g->shards[0].kv[i];
}

const an_gguf_kv *an_gguf_find(const an_gguf *g, const char *key)
{
    return an_gguf_shard_find(&g->shards[0], key);
}

/* Find a key of one of the types in the mask; *out stays NULL when it is absent and not required.
 */
static anemo_status get(const an_gguf *g, const char *key, bool required, uint32_t type_mask,
                        const char *want, const an_gguf_kv **out, anemo_error *err)
{
    const an_gguf_kv *kv = an_gguf_find(g, key);
    *out = NULL;
    if (!kv) {
        if (!required) return ANEMO_OK;
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the key %s is missing", an_gguf_path(g), key);
    }
    if (!(type_mask >> kv->type & 1))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: at byte %" PRIu64 ": %s must be %s, it is of type %s", an_gguf_path(g),
                       kv->offset, key, want, an_gguf_type_name(kv->type));
    *out = kv;
    return ANEMO_OK;
}

enum {
    INT_MASK = 1 << AN_GGUF_U8 | 1 << AN_GGUF_I8 | 1 << AN_GGUF_U16 | 1 << AN_GGUF_I16 |
               1 << AN_GGUF_U32 | 1 << AN_GGUF_I32 | 1 << AN_GGUF_U64 | 1 << AN_GGUF_I64,
};

anemo_status an_gguf_get_i64(const an_gguf *g, const char *key, bool required, int64_t min,
                             int64_t max, int64_t *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *kv;
    int64_t v = 0;
    AN_TRY(get(g, key, required, INT_MASK, "an integer", &kv, err));
    if (!kv) goto cleanup;
    bool fits = load_int(kv->type, kv->value, &v);
    if (!fits || v < min || v > max) {
        char found[24];
        if (fits)
            snprintf(found, sizeof found, "%" PRId64, v);
        else
            snprintf(found, sizeof found, "%" PRIu64, (uint64_t)v);
        status = an_fail(err, ANEMO_ERR_FORMAT,
                         "%s: at byte %" PRIu64 ": %s is %s, expected %" PRId64 " to %" PRId64,
                         an_gguf_path(g), kv->offset, key, found, min, max);
        goto cleanup;
    }
    *out = v;
cleanup:
    return status;
}

anemo_status an_gguf_get_f64(const an_gguf *g, const char *key, bool required, double *out,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *kv;
    AN_TRY(get(g, key, required, 1 << AN_GGUF_F32 | 1 << AN_GGUF_F64, "a float", &kv, err));
    if (!kv) goto cleanup;
    double v = kv->type == AN_GGUF_F32 ? (double)an_load_f32(kv->value) : load_f64(kv->value);
    if (!isfinite(v)) {
        status =
            an_fail(err, ANEMO_ERR_FORMAT, "%s: at byte %" PRIu64 ": %s is not a finite number",
                    an_gguf_path(g), kv->offset, key);
        goto cleanup;
    }
    *out = v;
cleanup:
    return status;
}

anemo_status an_gguf_get_bool(const an_gguf *g, const char *key, bool required, bool *out,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *kv;
    AN_TRY(get(g, key, required, 1 << AN_GGUF_BOOL, "a boolean", &kv, err));
    if (kv) *out = *(const unsigned char *)kv->value != 0;
cleanup:
    return status;
}

anemo_status an_gguf_get_str(const an_gguf *g, const char *key, bool required, an_bytes *out,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *kv;
    AN_TRY(get(g, key, required, 1 << AN_GGUF_STRING, "a string", &kv, err));
    if (kv) *out = (an_bytes){kv->value, kv->value_bytes};
cleanup:
    return status;
}

int64_t an_gguf_array_i64(const an_gguf_kv *kv, uint64_t i)
{
    int64_t v = 0;
    AN_ASSERT(kv->type == AN_GGUF_ARRAY && i < kv->n && (INT_MASK >> kv->elem_type & 1));
    load_int(kv->elem_type, (const char *)kv->value + i * types[kv->elem_type].bytes, &v);
    return v;
}

double an_gguf_array_f64(const an_gguf_kv *kv, uint64_t i)
{
    const char *p = kv->value;
    AN_ASSERT(kv->type == AN_GGUF_ARRAY && i < kv->n);
    AN_ASSERT(kv->elem_type == AN_GGUF_F32 || kv->elem_type == AN_GGUF_F64);
    return kv->elem_type == AN_GGUF_F32 ? (double)an_load_f32(p + i * 4) : load_f64(p + i * 8);
}

an_bytes an_gguf_array_next_str(const an_gguf_kv *kv, uint64_t *pos)
{
    const char *p = (const char *)kv->value + *pos;
    AN_ASSERT(kv->type == AN_GGUF_ARRAY && kv->elem_type == AN_GGUF_STRING &&
              *pos < kv->value_bytes);
    an_bytes out = {p + 8, an_load_u64(p)};
    *pos += 8 + out.len;
    return out;
}

size_t an_gguf_n_tensor(const an_gguf *g)
{
    return g->n_tensor;
}

const an_gguf_tensor *an_gguf_tensor_at(const an_gguf *g, size_t i)
{
    return &g->tensors[i];
}

const an_gguf_tensor *an_gguf_find_tensor(const an_gguf *g, const char *name)
{
    size_t i = an_name_index_find(g->tensor_index, g->n_tensor, name, strlen(name));
    return i == SIZE_MAX ? NULL : &g->tensors[i];
}

/* The writer of GGUF files. */
#include "format/gguf_write.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"

#include <string.h>

enum { ALIGNMENT = 32, VERSION = 3 };

struct an_gguf_writer {
    an_file_writer file;
    an_str keys, infos; /* of the header */
    uint64_t n_kv;
    uint64_t *bytes; /* [n_tensor] */
    size_t n_tensor, cap;
    uint64_t offset; /* of the next tensor to be declared, padding included */
    size_t current;              /* the tensor being put */
    uint64_t current_put;
};

static void put_u32(an_str *s, uint32_t v)
{
    an_str_append_bytes(s, &v, 4);
}

static void put_u64(an_str *s, uint64_t v)
{
    an_str_append_bytes(s, &v, 8);
}

static void put_string(an_str *s, const char *text, uint64_t n)
{
    put_u64(s, n);
    an_str_append_bytes(s, text, (size_t)n);
}

static uint64_t padding(uint64_t n)
{
    return (ALIGNMENT - n % ALIGNMENT) % ALIGNMENT;
}

anemo_status an_gguf_writer_open_dry(an_gguf_writer **out, const char *path, anemo_error *err)
{
    an_gguf_writer *w = an_calloc(1, sizeof *w);
    if (!w) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    w->file.fd = -1;
    *out = w;
    return ANEMO_OK;
}

anemo_status an_gguf_writer_open(an_gguf_writer **out, const char *path, anemo_error *err)
{
    an_gguf_writer *w = an_calloc(1, sizeof *w);
    if (!w) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    anemo_status status = an_file_writer_open(&w->file, path, err);
    if (status != ANEMO_OK) {
        an_free(w);
        return status;
    }
    *out = w;
    return ANEMO_OK;
}

void an_gguf_writer_close(an_gguf_writer *w)
{
    if (!w) return;
    an_file_writer_close(&w->file);
    an_str_free(&w->keys);
    an_str_free(&w->infos);
    an_free(w->bytes);
    an_free(w);
}

static void begin_key(an_gguf_writer *w, const char *key, uint64_t n, an_gguf_type type)
{
    put_string(&w->keys, key, n);
    put_u32(&w->keys, type);
    w->n_kv++;
}

void an_gguf_writer_copy(an_gguf_writer *w, const an_gguf_kv *kv)
{
    begin_key(w, kv->key.data, kv->key.len, kv->type);
    if (kv->type == AN_GGUF_ARRAY) {
        put_u32(&w->keys, kv->elem_type);
        put_u64(&w->keys, kv->n);
    }
    if (kv->type == AN_GGUF_STRING) put_u64(&w->keys, kv->value_bytes);
    an_str_append_bytes(&w->keys, kv->value, (size_t)kv->value_bytes);
}

void an_gguf_writer_u32(an_gguf_writer *w, const char *key, uint32_t v)
{
    begin_key(w, key, strlen(key), AN_GGUF_U32);
    put_u32(&w->keys, v);
}

void an_gguf_writer_f32(an_gguf_writer *w, const char *key, float v)
{
    begin_key(w, key, strlen(key), AN_GGUF_F32);
    an_str_append_bytes(&w->keys, &v, 4);
}

void an_gguf_writer_bool(an_gguf_writer *w, const char *key, bool v)
{
    begin_key(w, key, strlen(key), AN_GGUF_BOOL);
    an_str_append_char(&w->keys, v ? 1 : 0);
}

void an_gguf_writer_str(an_gguf_writer *w, const char *key, const char *text)
{
    begin_key(w, key, strlen(key), AN_GGUF_STRING);
    put_string(&w->keys, text, strlen(text));
}

static void begin_array(an_gguf_writer *w, const char *key, an_gguf_type elem, uint64_t n)
{
    begin_key(w, key, strlen(key), AN_GGUF_ARRAY);
    put_u32(&w->keys, elem);
    put_u64(&w->keys, n);
}

void an_gguf_writer_strs(an_gguf_writer *w, const char *key, uint64_t n)
{
    begin_array(w, key, AN_GGUF_STRING, n);
}

void an_gguf_writer_next_str(an_gguf_writer *w, const char *text, uint64_t len)
{
    put_string(&w->keys, text, len);
}

void an_gguf_writer_u32s(an_gguf_writer *w, const char *key, const uint32_t *v, uint64_t n)
{
    begin_array(w, key, AN_GGUF_U32, n);
    an_str_append_bytes(&w->keys, v, (size_t)n * 4);
}

void an_gguf_writer_i32s(an_gguf_writer *w, const char *key, const int32_t *v, uint64_t n)
{
    begin_array(w, key, AN_GGUF_I32, n);
    an_str_append_bytes(&w->keys, v, (size_t)n * 4);
}

void an_gguf_writer_f32s(an_gguf_writer *w, const char *key, const float *v, uint64_t n)
{
    begin_array(w, key, AN_GGUF_F32, n);
    an_str_append_bytes(&w->keys, v, (size_t)n * 4);
}

anemo_status an_gguf_writer_tensor(an_gguf_writer *w, const char *name, an_dtype type, int n_dim, const int64_t *shape,
                                   anemo_error *err)
{
    const an_dtype_info *info = an_dtype_get(type);
    uint64_t bytes = (uint64_t)info->block_bytes, end;
    AN_ASSERT(n_dim >= 1 && n_dim <= 4 && info->ggml_id >= 0 && shape[n_dim - 1] % info->block_elems == 0);
    if (w->n_tensor == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 64;
        uint64_t *grown = an_realloc(w->bytes, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", w->file.path);
        w->bytes = grown;
        w->cap = cap;
    }
    bool fits = true;
    put_string(&w->infos, name, strlen(name));
    put_u32(&w->infos, (uint32_t)n_dim);
    for (int i = n_dim - 1; i >= 0; i--) {
        put_u64(&w->infos, (uint64_t)shape[i]);
        fits = fits && an_mul_u64(bytes, (uint64_t)(i == n_dim - 1 ? shape[i] / info->block_elems : shape[i]), &bytes);
    }
    put_u32(&w->infos, (uint32_t)info->ggml_id);
    put_u64(&w->infos, w->offset);
    if (!fits || !an_add_u64(w->offset, bytes, &end) || !an_align_up_u64(end, ALIGNMENT, &w->offset))
        return an_fail(err, ANEMO_ERR_INVAL, "%s: the tensor %s is larger than a file can be", w->file.path ? w->file.path : "this model", name);
    w->bytes[w->n_tensor++] = bytes;
    return ANEMO_OK;
}

static anemo_status put_zeros(an_gguf_writer *w, uint64_t n, anemo_error *err)
{
    static const char zeros[ALIGNMENT];
    return an_file_writer_put(&w->file, zeros, (size_t)n, err);
}

/* Tensors without a byte are passed by. */
static anemo_status next_tensor(an_gguf_writer *w, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    while (w->current < w->n_tensor && w->current_put == w->bytes[w->current]) {
        AN_TRY(put_zeros(w, padding(w->current_put), err));
        w->current++;
        w->current_put = 0;
    }
cleanup:
    return status;
}

uint64_t an_gguf_writer_bytes(const an_gguf_writer *w)
{
    enum { FIXED = 24 }; /* magic, version, two counts */
    uint64_t head = FIXED + w->keys.len + w->infos.len;
    return head + padding(head) + w->offset;
}

anemo_status an_gguf_writer_begin(an_gguf_writer *w, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str head = {0};
    an_str_append(&head, "GGUF");
    put_u32(&head, VERSION);
    put_u64(&head, w->n_tensor);
    put_u64(&head, w->n_kv);
    an_str_append_bytes(&head, w->keys.data, w->keys.len);
    an_str_append_bytes(&head, w->infos.data, w->infos.len);
    an_str_append_repeat(&head, '\0', padding(head.len));
    if (w->keys.failed || w->infos.failed) head.failed = true;
    AN_TRY(an_str_check(&head, err));
    AN_TRY(an_file_writer_reserve(&w->file, head.len + w->offset, err));
    AN_TRY(an_file_writer_put(&w->file, head.data, head.len, err));
    AN_TRY(next_tensor(w, err));
cleanup:
    an_str_free(&head);
    return status;
}

anemo_status an_gguf_writer_put(an_gguf_writer *w, const void *data, uint64_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_ASSERT(w->current < w->n_tensor && n <= w->bytes[w->current] - w->current_put);
    AN_TRY(an_file_writer_put(&w->file, data, (size_t)n, err));
    w->current_put += n;
    AN_TRY(next_tensor(w, err));
cleanup:
    return status;
}

anemo_status an_gguf_writer_commit(an_gguf_writer *w, anemo_error *err)
{
    AN_ASSERT(w->current == w->n_tensor);
    return an_file_writer_commit(&w->file, err);
}

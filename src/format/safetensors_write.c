/* Writing one safetensors file: all tensors declared first, so that the header is final before any
 * data. */
#include "format/safetensors.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { DATA_ALIGNMENT = 64 };

typedef struct entry {
    char *name;
    an_dtype dtype;
    int n_dim;
    int64_t shape[AN_ST_DIMS_MAX];
    uint64_t bytes, offset; /* offset: in the data, known from begin on */
} entry;

struct an_st_writer {
    an_file_writer file;
    bool open;
    bool begun;
    entry *entries;
    size_t n, cap;
    size_t current;       /* the entry being put */
    uint64_t current_put; /* bytes of it so far */
    an_str notes;         /* further members of __metadata__, each with a comma before it */
    uint64_t data_at;     /* where the data begin in the file */
    atomic_uint_fast64_t put_at_bytes;
};

static const struct {
    an_dtype dtype;
    const char *name;
    unsigned bytes;
} dtypes[] = {
    {AN_DTYPE_F32, "F32", 4}, {AN_DTYPE_F16, "F16", 2}, {AN_DTYPE_BF16, "BF16", 2},
    {AN_DTYPE_U32, "U32", 4}, {AN_DTYPE_U8, "U8", 1},   {AN_DTYPE_I32, "I32", 4},
    {AN_DTYPE_I64, "I64", 8},
};

static size_t dtype_row(an_dtype dtype)
{
    size_t k = 0;
    while (k < AN_COUNT_OF(dtypes) && dtypes[k].dtype != dtype)
        k++;
    return k;
}

anemo_status an_st_writer_open(an_st_writer **out, const char *path, anemo_error *err)
{
    an_st_writer *w = an_calloc(1, sizeof *w);
    if (!w) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    anemo_status status = an_file_writer_open(&w->file, path, err);
    if (status != ANEMO_OK) {
        an_free(w);
        return status;
    }
    w->open = true;
    *out = w;
    return ANEMO_OK;
}

anemo_status an_st_writer_declare(an_st_writer *w, const char *name, an_dtype dtype, int n_dim,
                                  const int64_t *shape, anemo_error *err)
{
    size_t row = dtype_row(dtype);
    AN_ASSERT(!w->begun && n_dim >= 0 && n_dim <= AN_ST_DIMS_MAX && row < AN_COUNT_OF(dtypes));
    if (w->n == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 64;
        entry *grown = an_realloc(w->entries, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", w->file.path);
        w->entries = grown;
        w->cap = cap;
    }
    entry *e = &w->entries[w->n];
    *e = (entry){.dtype = dtype, .n_dim = n_dim, .bytes = dtypes[row].bytes};
    for (int i = 0; i < n_dim; i++) {
        e->shape[i] = shape[i];
        if (shape[i] < 0 || !an_mul_u64(e->bytes, (uint64_t)shape[i], &e->bytes))
            return an_fail(err, ANEMO_ERR_INVAL, "%s: the size of tensor %s overflows",
                           w->file.path, name);
    }
    e->name = an_strdup(name);
    if (!e->name) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", w->file.path);
    w->n++;
    return ANEMO_OK;
}

/* Larger elements first, so that every tensor is aligned to its element; then by name. */
static int cmp_entry(const void *pa, const void *pb)
{
    const entry *a = pa, *b = pb;
    unsigned ea = dtypes[dtype_row(a->dtype)].bytes, eb = dtypes[dtype_row(b->dtype)].bytes;
    if (ea != eb) return ea > eb ? -1 : 1;
    return strcmp(a->name, b->name);
}

static void put_json_string(an_str *s, const char *text)
{
    an_str_append_char(s, '"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\') an_str_append_char(s, '\\');
        if (*c < 0x20)
            an_str_appendf(s, "\\u%04x", *c);
        else
            an_str_append_char(s, (char)*c);
    }
    an_str_append_char(s, '"');
}

anemo_status an_st_writer_note(an_st_writer *w, const char *key, const char *value, anemo_error *err)
{
    AN_ASSERT(!w->begun);
    an_str_append_char(&w->notes, ',');
    put_json_string(&w->notes, key);
    an_str_append_char(&w->notes, ':');
    put_json_string(&w->notes, value);
    return an_str_check(&w->notes, err);
}

anemo_status an_st_writer_begin(an_st_writer *w, const char *metadata_format, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str s = {0};
    uint64_t at = 0;
    AN_ASSERT(!w->begun);
    if (w->n > 1) qsort(w->entries, w->n, sizeof *w->entries, cmp_entry);
    an_str_append(&s, "{\"__metadata__\":{\"format\":");
    put_json_string(&s, metadata_format);
    an_str_append(&s, an_str_text(&w->notes));
    an_str_append_char(&s, '}');
    for (size_t i = 0; i < w->n; i++) {
        entry *e = &w->entries[i];
        if (i && !strcmp(w->entries[i - 1].name, e->name)) {
            status = an_fail(err, ANEMO_ERR_INVAL, "%s: tensor %s is declared twice", w->file.path,
                             e->name);
            goto cleanup;
        }
        uint64_t end;
        if (!an_add_u64(at, e->bytes, &end)) {
            status =
                an_fail(err, ANEMO_ERR_INVAL, "%s: the size of the file overflows", w->file.path);
            goto cleanup;
        }
        an_str_append_char(&s, ',');
        put_json_string(&s, e->name);
        an_str_appendf(&s, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[dtype_row(e->dtype)].name);
        for (int k = 0; k < e->n_dim; k++)
            an_str_appendf(&s, k ? ",%" PRId64 : "%" PRId64, e->shape[k]);
        an_str_appendf(&s, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, end);
        e->offset = at;
        at = end;
    }
    an_str_append_char(&s, '}');
    an_str_append_repeat(&s, ' ', (size_t)(-(s.len + 8) % DATA_ALIGNMENT));
    AN_TRY(an_str_check(&s, err));
    uint64_t n = s.len;
    w->data_at = 8 + n;
    AN_TRY(an_file_writer_put(&w->file, &n, 8, err));
    AN_TRY(an_file_writer_put(&w->file, s.data, s.len, err));
    w->begun = true;
cleanup:
    an_str_free(&s);
    return status;
}

size_t an_st_writer_n(const an_st_writer *w)
{
    return w->n;
}

const char *an_st_writer_order(const an_st_writer *w, size_t i)
{
    AN_ASSERT(w->begun && i < w->n);
    return w->entries[i].name;
}

uint64_t an_st_writer_data_bytes(const an_st_writer *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < w->n; i++)
        sum += w->entries[i].bytes;
    return sum;
}

/* Step over finished tensors; empty ones need no put. */
static void skip_finished(an_st_writer *w)
{
    while (w->current < w->n && w->current_put == w->entries[w->current].bytes) {
        w->current++;
        w->current_put = 0;
    }
}

anemo_status an_st_writer_put(an_st_writer *w, const void *data, uint64_t n, anemo_error *err)
{
    AN_ASSERT(w->begun);
    skip_finished(w);
    if (n == 0) return ANEMO_OK;
    AN_ASSERT(w->current < w->n && n <= w->entries[w->current].bytes - w->current_put);
    anemo_status status = an_file_writer_put(&w->file, data, (size_t)n, err);
    if (status == ANEMO_OK) w->current_put += n;
    return status;
}

anemo_status an_st_writer_put_at(an_st_writer *w, size_t i, uint64_t at, const void *data, uint64_t n, anemo_error *err)
{
    AN_ASSERT(w->begun && i < w->n && at <= w->entries[i].bytes && n <= w->entries[i].bytes - at);
    anemo_status status =
        an_file_writer_put_at(&w->file, w->data_at + w->entries[i].offset + at, data, (size_t)n, err);
    if (status == ANEMO_OK) atomic_fetch_add(&w->put_at_bytes, n);
    return status;
}

anemo_status an_st_writer_commit(an_st_writer *w, anemo_error *err)
{
    AN_ASSERT(w->begun);
    uint64_t put_at = atomic_load(&w->put_at_bytes);
    if (put_at > 0) AN_ASSERT(put_at == an_st_writer_data_bytes(w));
    else skip_finished(w);
    AN_ASSERT(put_at > 0 || w->current == w->n);
    return an_file_writer_commit(&w->file, err);
}

void an_st_writer_close(an_st_writer *w)
{
    if (!w) return;
    if (w->open) an_file_writer_close(&w->file);
    for (size_t i = 0; i < w->n; i++)
        an_free(w->entries[i].name);
    an_free(w->entries);
    an_str_free(&w->notes);
    an_free(w);
}
